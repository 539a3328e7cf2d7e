// SPDX-License-Identifier: Apache-2.0
#include "models/neffwriter/writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "core/neff/npy.h"

namespace opennrt::compile {
namespace {

using Json = nlohmann::ordered_json;
struct File {
  std::string path;
  std::string text;  ///< contents, or
  const std::vector<std::byte>* data = nullptr;
};

/// Subgraphs that run one after another, with no node for the CPU between them.
struct Kelf {
  std::string file;
  std::vector<const neff::Subgraph*> graphs;
};

std::string dump(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json definition(const neff::Subgraph& g) {
  Json var = Json::object(), queues = Json::object();
  for (const auto& v : g.variables) {
    Json j{{"type", type_name(v.type)}, {"var_id", v.id}, {"size", v.size}, {"alignment", v.alignment}};
    if (v.type == neff::VariableType::kFile) j["file_name"] = v.file_name;
    if (v.type == neff::VariableType::kStateBuffer) j["address"] = v.address;
    var[v.name] = std::move(j);
  }
  for (const auto& q : g.queues)
    queues[q.name] = {
        {"type", type_name(q.type)}, {"num_queues", 1}, {"owner", std::string(isa::engine_name(q.owner))}};
  Json def{{"version", "0.6"}};
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    const std::string engine(isa::engine_name(static_cast<isa::Engine>(e)));
    def[engine] = engine + ".json";
    def[engine + "_instr"] = engine + ".bin";
  }
  def["dma_queue"] = std::move(queues);
  def["var"] = std::move(var);
  def["opennrt"] = {{"isa_version", g.isa_version}};
  for (const auto& d : g.debug_tensors)
    def["opennrt"]["debug_tensors"].push_back(
        {{"name", d.name}, {"dtype", d.dtype}, {"shape", d.shape}, {"variable", g.variables[d.variable].name}});
  return def;
}

void put(Json& desc, const char* side, const neff::Subgraph& g, const neff::AccessPattern& p) {
  const std::string s(side);
  desc[s] = g.variables[p.variable].name;
  desc[s + "_off"] = p.offset;
  desc[s + "_sizes"] = p.sizes;
  desc[s + "_steps"] = p.steps;
}

/// One entry per line: there may be very many.
std::string engine_text(const neff::Subgraph& g, std::size_t e) {
  const std::string name(isa::engine_name(static_cast<isa::Engine>(e)));
  std::string text = "{\"name\": \"" + name + "\", \"instr\": \"" + name + ".bin\", \"dma\": [";
  bool first = true;
  for (const auto& entry : g.engines[e].dma) {
    Json j{{"id", entry.id}, {"queue", g.queues[entry.queue].name}};
    if (entry.semaphore) j["semaphore"] = *entry.semaphore;
    if (entry.event) j["event"] = *entry.event;
    Json desc = Json::object();
    put(desc, "from", g, entry.from);
    put(desc, "to", g, entry.to);
    j["desc"] = std::move(desc);
    text += (first ? "\n" : ",\n") + j.dump(-1, ' ', false, Json::error_handler_t::replace);
    first = false;
  }
  return text + "\n]}\n";
}

/// neff.json: TVM's graph, in which the order of nodes is an order in which they can run.
class GraphText {
 public:
  GraphText(const neff::Neff& neff, const std::vector<Kelf>& kelfs, const std::string& name) : neff_(neff) {
    rows_.push_back(0);
    for (const auto& t : neff.tensors) {
      if (t.kind == neff::TensorKind::kInput) add_leaf(t, {});
    }
    for (std::size_t i = 0; i < neff.constants.size(); ++i) add_leaf(neff.constants[i].info, constant_file(i));
    std::size_t next_kelf = 0;
    for (std::size_t i = 0; i < neff.steps.size(); ++i) {
      if (neff.steps[i].kind == neff::Step::Kind::kCpu) {
        const neff::CpuNode& node = neff.cpu_nodes[neff.steps[i].index];
        add_operation(node.name, node.inputs, node.outputs, {{"func_name", node.function}}, node.attributes);
      } else if (i == 0 || neff.steps[i - 1].kind == neff::Step::Kind::kCpu) {
        const Kelf& kelf = kelfs[next_kelf];
        const std::string node = kelfs.size() == 1 ? name : name + "/" + std::to_string(next_kelf);
        add_operation(node, inputs_of(kelf), outputs_of(kelf), {{"func_name", "__kelf"}, {"kelf", kelf.file}}, {});
        ++next_kelf;
      }
    }
  }

  static std::string constant_file(std::size_t i) { return "constant-" + std::to_string(i) + ".npy"; }

  Json json() const {
    Json heads = Json::array(), signature_in = Json::array(), signature_out = Json::array(), ids = Json::array();
    for (const auto& t : neff_.tensors) {
      const bool input = t.kind == neff::TensorKind::kInput;
      (input ? signature_in : signature_out).push_back({{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}});
      if (!input) heads.push_back(entries_.at(t.name));
    }
    for (std::size_t i = 0; i < shapes_.size(); ++i) ids.push_back(i);
    return {{"nodes", nodes_},
            {"arg_nodes", arguments_},
            {"heads", heads},
            {"node_row_ptr", rows_},
            {"attrs",
             {{"shape", {"list_shape", shapes_}}, {"dltype", {"list_str", types_}}, {"storage_id", {"list_int", ids}}}},
            {"metadata", {{"signatures", {{"inputs", signature_in}, {"outputs", signature_out}}}}}};
  }

 private:
  void add_entry(const neff::TensorInfo& t, std::size_t output) {
    entries_[t.name] = {nodes_.size(), output, 0};
    shapes_.push_back(t.shape);
    types_.push_back(t.dtype);
  }
  void add_node(Json node) {
    nodes_.push_back(std::move(node));
    rows_.push_back(shapes_.size());
  }
  void add_leaf(const neff::TensorInfo& t, const std::string& file) {
    arguments_.push_back(nodes_.size());
    add_entry(t, 0);
    Json node{{"op", "null"}, {"name", t.name}, {"inputs", Json::array()}};
    if (!file.empty()) node["attrs"] = {{"file", file}};
    add_node(std::move(node));
  }
  void add_operation(const std::string& name, const std::vector<std::string>& inputs,
                     const std::vector<neff::TensorInfo>& outputs, Json attributes,
                     const std::map<std::string, std::string>& more) {
    Json references = Json::array(), names = Json::array();
    for (const std::string& input : inputs) references.push_back(entries_.at(input));
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      add_entry(outputs[i], i);
      names.push_back(outputs[i].name);
    }
    attributes["num_inputs"] = std::to_string(inputs.size());
    attributes["num_outputs"] = std::to_string(outputs.size());
    attributes["output_names"] = names;
    for (const auto& [key, value] : more) attributes[key] = value;
    add_node({{"op", "tvm_op"}, {"name", name}, {"inputs", references}, {"attrs", attributes}});
  }

  /// What its graphs read of others.
  static std::vector<std::string> inputs_of(const Kelf& kelf) {
    std::vector<std::string> inputs;
    std::set<std::string> known;
    for (const auto* graph : kelf.graphs) {
      for (const auto& t : graph->tensors) {
        if (known.insert(t.name).second && t.kind == neff::TensorKind::kInput) inputs.push_back(t.name);
      }
    }
    return inputs;
  }
  /// What others read of its graphs: outputs of the model, inputs of other nodes.
  std::vector<neff::TensorInfo> outputs_of(const Kelf& kelf) const {
    std::set<std::string> wanted;
    for (const auto& t : neff_.tensors) wanted.insert(t.name);
    for (const auto& node : neff_.cpu_nodes) wanted.insert(node.inputs.begin(), node.inputs.end());
    for (const auto& graph : neff_.subgraphs) {
      if (std::find(kelf.graphs.begin(), kelf.graphs.end(), &graph) != kelf.graphs.end()) continue;
      for (const auto& t : graph.tensors) {
        if (t.kind == neff::TensorKind::kInput) wanted.insert(t.name);
      }
    }
    std::vector<neff::TensorInfo> outputs;
    for (const auto* graph : kelf.graphs) {
      for (const auto& t : graph->tensors) {
        if (t.kind == neff::TensorKind::kOutput && wanted.count(t.name)) outputs.push_back(t);
      }
    }
    return outputs;
  }

  const neff::Neff& neff_;
  Json nodes_ = Json::array(), arguments_ = Json::array(), rows_ = Json::array(), shapes_ = Json::array(),
       types_ = Json::array();
  std::map<std::string, Json> entries_;  ///< value → [node, output, 0]
};

void add_subgraph_files(std::vector<File>& files, const neff::Subgraph& g) {
  const std::string folder = g.name + "/";
  Json tensors = Json::object();
  for (const auto& t : g.tensors)
    tensors[t.name] = {
        {"kind", t.kind == neff::TensorKind::kInput ? "input" : "output"}, {"dtype", t.dtype}, {"shape", t.shape}};
  files.push_back({folder + "def.json", dump(definition(g))});
  files.push_back({folder + "tensor_map.json", dump({{"tensors", tensors}})});
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    const std::string engine(isa::engine_name(static_cast<isa::Engine>(e)));
    files.push_back({folder + engine + ".json", engine_text(g, e)});
    files.push_back({folder + engine + ".bin", {}, &g.engines[e].instructions});
  }
  for (const auto& v : g.variables) {
    if (v.type == neff::VariableType::kFile) files.push_back({folder + v.file_name, {}, &v.data});
  }
}

/// `constants` keeps what the files of constants point to.
Result<std::vector<File>> make_files(const neff::Neff& neff, const std::string& name,
                                     std::vector<std::vector<std::byte>>& constants) {
  std::vector<Kelf> kelfs;
  for (std::size_t i = 0; i < neff.steps.size(); ++i) {
    if (neff.steps[i].kind == neff::Step::Kind::kCpu) continue;
    if (i == 0 || neff.steps[i - 1].kind == neff::Step::Kind::kCpu)
      kelfs.push_back({"kelf-" + std::to_string(kelfs.size()) + ".json", {}});
    kelfs.back().graphs.push_back(&neff.subgraphs[neff.steps[i].index]);
  }
  std::vector<File> files;
  files.push_back({"neff.json", dump(GraphText(neff, kelfs, name).json())});
  for (const Kelf& kelf : kelfs) {
    Json graphs = Json::array();
    for (const auto* g : kelf.graphs) graphs.push_back({{"name", g->name}, {"definition", g->name + "/def.json"}});
    files.push_back({kelf.file, dump({{"version", "0.5"}, {"target", neff::kTarget}, {"graphs", graphs}})});
  }
  const std::size_t cores = neff.subgraphs.size();
  Json per_node = Json::array({cores});
  for (int i = 1; i < 64; ++i) per_node.push_back(0);
  files.push_back({"info.json", dump({{"tool_version", "opennrt " OPENNRT_VERSION},
                                      {"kelp_version", "0.5"},
                                      {"name", name},
                                      {"num_tpb", cores},
                                      {"num_tpb_requested", cores},
                                      {"num_tpb_per_node", per_node}})});
  for (const neff::GraphConstant& c : neff.constants) {
    auto npy = neff::write_npy({c.info.dtype, {c.info.shape.begin(), c.info.shape.end()}, c.data});
    if (!npy) return tl::unexpected(npy.error());
    constants.push_back(std::move(*npy));
  }
  for (std::size_t i = 0; i < constants.size(); ++i) files.push_back({GraphText::constant_file(i), {}, &constants[i]});
  for (const neff::Subgraph& g : neff.subgraphs) add_subgraph_files(files, g);
  return files;
}

la_ssize_t append(archive*, void* context, const void* bytes, std::size_t count) {
  auto& out = *static_cast<std::vector<std::byte>*>(context);
  const auto* begin = static_cast<const std::byte*>(bytes);
  out.insert(out.end(), begin, begin + count);
  return static_cast<la_ssize_t>(count);
}

Result<std::vector<std::byte>> archive_files(const std::vector<File>& files) {
  std::vector<std::byte> out;
  const std::unique_ptr<archive, int (*)(archive*)> a(archive_write_new(), archive_write_free);
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(), archive_entry_free);
  const auto failed = [&] {
    return make_error(ErrorCode::kInternal, "writing the NEFF's archive failed: {}",
                      archive_error_string(a.get()) ? archive_error_string(a.get()) : "no memory");
  };
  if (!a || !entry) return make_error(ErrorCode::kInternal, "writing the NEFF's archive failed: no memory");
  if (archive_write_set_format_pax_restricted(a.get()) != ARCHIVE_OK ||
      archive_write_add_filter_gzip(a.get()) != ARCHIVE_OK ||
      archive_write_set_filter_option(a.get(), "gzip", "timestamp", nullptr) != ARCHIVE_OK ||
      archive_write_set_filter_option(a.get(), "gzip", "compression-level", "1") != ARCHIVE_OK ||
      archive_write_set_bytes_in_last_block(a.get(), 1) != ARCHIVE_OK ||
      archive_write_open(a.get(), &out, nullptr, append, nullptr) != ARCHIVE_OK)
    return failed();
  for (const File& f : files) {
    const std::size_t size = f.data ? f.data->size() : f.text.size();
    const void* bytes = f.data ? static_cast<const void*>(f.data->data()) : f.text.data();
    archive_entry_clear(entry.get());
    archive_entry_set_pathname(entry.get(), f.path.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size));
    archive_entry_set_mtime(entry.get(), 0, 0);
    if (archive_write_header(a.get(), entry.get()) != ARCHIVE_OK) return failed();
    if (size > 0 && archive_write_data(a.get(), bytes, size) != static_cast<la_ssize_t>(size)) return failed();
  }
  if (archive_write_close(a.get()) != ARCHIVE_OK) return failed();
  return out;
}

}  // namespace

Result<std::vector<std::byte>> write_neff(const neff::Neff& neff, const std::string& name) {
  std::vector<std::vector<std::byte>> constants;
  const auto files = make_files(neff, name, constants);
  if (!files) return tl::unexpected(files.error());
  auto payload = archive_files(*files);
  if (!payload) return payload;
  neff::Header header;
  header.data_size = payload->size();
  header.build_version = "opennrt " OPENNRT_VERSION;
  header.name = name.substr(0, 255);
  header.num_tpb = header.requested_tpb_count = static_cast<std::uint32_t>(neff.subgraphs.size());
  header.tpb_per_node[0] = static_cast<std::uint8_t>(neff.subgraphs.size());
  unsigned length = 0;
  if (EVP_Digest(payload->data(), payload->size(), header.hash.data(), &length, EVP_sha256(), nullptr) != 1 ||
      length != header.hash.size())
    return make_error(ErrorCode::kInternal, "SHA-256 is not available");
  std::copy_n(header.hash.begin(), header.uuid.size(), header.uuid.begin());
  header.uuid[6] =
      static_cast<std::uint8_t>((header.uuid[6] & 0x0f) | 0x80);  // version 8: made from what it names (RFC 9562)
  header.uuid[8] = static_cast<std::uint8_t>((header.uuid[8] & 0x3f) | 0x80);
  const auto head = neff::encode_header(header);
  std::vector<std::byte> file(head.begin(), head.end());
  file.insert(file.end(), payload->begin(), payload->end());
  return file;
}

}  // namespace opennrt::compile
