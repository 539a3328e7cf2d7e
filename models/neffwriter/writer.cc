// SPDX-License-Identifier: Apache-2.0
#include "models/neffwriter/writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

namespace opennrt::compile {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kFolder = "sg00/";

struct File {
  std::string path;
  std::string text;  ///< contents, or
  const std::vector<std::byte>* data = nullptr;
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

std::vector<File> make_files(const neff::Subgraph& g, const std::string& name) {
  std::vector<File> files;
  Json nodes = Json::array(), arguments = Json::array(), rows = Json::array(), shapes = Json::array(),
       types = Json::array(), ids = Json::array();
  Json inputs = Json::array(), outputs = Json::array(), tensors = Json::object(), signature_in = Json::array(),
       signature_out = Json::array();
  rows.push_back(0);
  for (const auto& t : g.tensors) {
    const bool input = t.kind == neff::TensorKind::kInput;
    tensors[t.name] = {{"kind", input ? "input" : "output"}, {"dtype", t.dtype}, {"shape", t.shape}};
    (input ? signature_in : signature_out).push_back({{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}});
    shapes.push_back(t.shape);
    types.push_back(t.dtype);
    ids.push_back(ids.size());
    if (!input) {
      outputs.push_back(t.name);
      continue;
    }
    arguments.push_back(nodes.size());
    inputs.push_back({nodes.size(), 0, 0});
    nodes.push_back({{"op", "null"}, {"name", t.name}, {"inputs", Json::array()}});
    rows.push_back(nodes.size());
  }
  const std::size_t kernel = nodes.size();
  Json heads = Json::array();
  for (std::size_t i = 0; i < outputs.size(); ++i) heads.push_back({kernel, i, 0});
  const std::string input_count = std::to_string(kernel), output_count = std::to_string(outputs.size());
  nodes.push_back({{"op", "tvm_op"},
                   {"name", name},
                   {"inputs", inputs},
                   {"attrs",
                    {{"func_name", "__kelf"},
                     {"kelf", "kelf-0.json"},
                     {"num_inputs", input_count},
                     {"num_outputs", output_count},
                     {"output_names", outputs}}}});
  rows.push_back(kernel + heads.size());
  const Json graph{
      {"nodes", nodes},
      {"arg_nodes", arguments},
      {"heads", heads},
      {"node_row_ptr", rows},
      {"attrs",
       {{"shape", {"list_shape", shapes}}, {"dltype", {"list_str", types}}, {"storage_id", {"list_int", ids}}}},
      {"metadata", {{"signatures", {{"inputs", signature_in}, {"outputs", signature_out}}}}}};
  Json per_node = Json::array({1});
  for (int i = 1; i < 64; ++i) per_node.push_back(0);
  files.push_back({"neff.json", dump(graph)});
  files.push_back(
      {"kelf-0.json", dump({{"version", "0.5"},
                            {"target", "opennrt-1"},
                            {"graphs", Json::array({{{"name", "sg00"}, {"definition", "sg00/def.json"}}})}})});
  files.push_back({"info.json", dump({{"tool_version", "opennrt " OPENNRT_VERSION},
                                      {"kelp_version", "0.5"},
                                      {"name", name},
                                      {"num_tpb", 1},
                                      {"num_tpb_requested", 1},
                                      {"num_tpb_per_node", per_node}})});
  files.push_back({std::string(kFolder) + "def.json", dump(definition(g))});
  files.push_back({std::string(kFolder) + "tensor_map.json", dump({{"tensors", tensors}})});
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    const std::string engine(isa::engine_name(static_cast<isa::Engine>(e)));
    files.push_back({kFolder + engine + ".json", engine_text(g, e)});
    files.push_back({kFolder + engine + ".bin", {}, &g.engines[e].instructions});
  }
  for (const auto& v : g.variables) {
    if (v.type == neff::VariableType::kFile) files.push_back({kFolder + v.file_name, {}, &v.data});
  }
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

Result<std::vector<std::byte>> write_neff(const neff::Subgraph& subgraph, const std::string& name) {
  auto payload = archive_files(make_files(subgraph, name));
  if (!payload) return payload;
  neff::Header header;
  header.data_size = payload->size();
  header.build_version = "opennrt " OPENNRT_VERSION;
  header.name = name.substr(0, 255);
  header.tpb_per_node[0] = 1;
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
