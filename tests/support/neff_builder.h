// SPDX-License-Identifier: Apache-2.0
//
// Builds NEFFs in memory for tests: from a Subgraph, or file by file with whatever is wrong with it.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <openssl/evp.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/common/bytes.h"
#include "core/neff/neff.h"
#include "core/neff/npy.h"

namespace opennrt::test {

using OrderedJson = nlohmann::ordered_json;

class NeffBuilder {
 public:
  neff::Header header;
  bool gzip = true;
  std::map<std::string, std::vector<std::byte>> files;
  /// Entries besides `files`: each sets up path, type and link target.
  std::vector<std::function<void(archive_entry*)>> odd_entries;

  NeffBuilder() {
    header.build_version = "opennrt test";
    header.name = "test";
  }

  NeffBuilder& file(const std::string& path, std::string_view text) {
    auto bytes = as_bytes(text);
    files[path].assign(bytes.begin(), bytes.end());
    return *this;
  }
  NeffBuilder& json(const std::string& path, const OrderedJson& value) { return file(path, value.dump()); }
  OrderedJson json(const std::string& path) const { return OrderedJson::parse(as_text(files.at(path))); }
  /// Changes a JSON file: edit(path, [](auto& json) { json["var"]["x"]["size"] = 7; }).
  NeffBuilder& edit(const std::string& path, const std::function<void(OrderedJson&)>& change) {
    OrderedJson value = json(path);
    change(value);
    return json(path, value);
  }
  NeffBuilder& remove(const std::string& path) {
    files.erase(path);
    return *this;
  }
  NeffBuilder& entry(const std::string& path, unsigned type, const std::string& link = {}) {
    odd_entries.push_back([=](archive_entry* e) {
      archive_entry_set_pathname(e, path.c_str());
      archive_entry_set_filetype(e, static_cast<__LA_MODE_T>(type));
      archive_entry_set_size(e, 0);
      if (!link.empty()) archive_entry_set_symlink(e, link.c_str());
    });
    return *this;
  }

  std::vector<std::byte> payload() const {
    std::vector<std::byte> out;
    archive* a = archive_write_new();
    archive_write_set_format_pax_restricted(a);
    if (gzip) {
      archive_write_add_filter_gzip(a);
      archive_write_set_filter_option(a, "gzip", "timestamp", nullptr);
    }
    archive_write_set_bytes_per_block(a, 0);
    auto write = [](archive*, void* to, const void* from, std::size_t bytes) -> la_ssize_t {
      const auto* data = static_cast<const std::byte*>(from);
      auto& target = *static_cast<std::vector<std::byte>*>(to);
      target.insert(target.end(), data, data + bytes);
      return static_cast<la_ssize_t>(bytes);
    };
    if (archive_write_open(a, &out, nullptr, write, nullptr) != ARCHIVE_OK)
      throw std::runtime_error("archive_write_open");
    archive_entry* e = archive_entry_new();
    for (const auto& [path, data] : files) {
      archive_entry_clear(e);
      archive_entry_set_pathname(e, path.c_str());
      archive_entry_set_filetype(e, AE_IFREG);
      archive_entry_set_perm(e, 0644);
      archive_entry_set_size(e, static_cast<la_int64_t>(data.size()));
      if (archive_write_header(a, e) != ARCHIVE_OK) throw std::runtime_error(archive_error_string(a));
      archive_write_data(a, data.data(), data.size());
    }
    for (const auto& set_up : odd_entries) {
      archive_entry_clear(e);
      archive_entry_set_perm(e, 0644);
      set_up(e);
      if (archive_write_header(a, e) != ARCHIVE_OK) throw std::runtime_error(archive_error_string(a));
    }
    archive_entry_free(e);
    archive_write_close(a);
    archive_write_free(a);
    return out;
  }

  /// The NEFF of a given payload: data_size and hash are filled in.
  std::vector<std::byte> wrap(const std::vector<std::byte>& data) const {
    neff::Header h = header;
    h.data_size = data.size();
    unsigned int length = 0;
    EVP_Digest(data.data(), data.size(), h.hash.data(), &length, h.pkg_version == 2 ? EVP_md5() : EVP_sha256(),
               nullptr);
    auto head = neff::encode_header(h);
    std::vector<std::byte> out(head.size() + data.size());
    std::copy(head.begin(), head.end(), out.begin());
    std::copy(data.begin(), data.end(), out.begin() + static_cast<std::ptrdiff_t>(head.size()));
    return out;
  }
  std::vector<std::byte> build() const { return wrap(payload()); }

  /// All files of a NEFF with this one subgraph in folder sg00.
  static NeffBuilder of(const neff::Subgraph& subgraph) {
    NeffBuilder b;
    b.json("neff.json",
           {{"nodes",
             {{{"op", "null"}, {"name", "in"}, {"inputs", OrderedJson::array()}},
              {{"op", "tvm_op"}, {"name", "nc"}, {"attrs", {{"func_name", "__kelf"}, {"kelf", "kelf-0.json"}}}}}}});
    b.json("kelf-0.json", {{"version", "0.5"},
                           {"target", neff::kTarget},
                           {"graphs", {{{"name", "sg00"}, {"definition", "sg00/def.json"}}}}});
    b.add_subgraph("sg00/", subgraph);
    return b;
  }

  /// All files of a model of several steps: subgraphs, CPU nodes, constants, inputs and outputs as `model` has them, in its
  /// order of steps. Subgraphs that follow each other go into one kelf.
  static NeffBuilder of_model(const neff::Neff& model) {
    NeffBuilder b;
    b.header.num_tpb = b.header.requested_tpb_count = static_cast<std::uint32_t>(model.subgraphs.size());
    OrderedJson nodes = OrderedJson::array(), rows{0}, shapes = OrderedJson::array(), types = OrderedJson::array(),
                arguments = OrderedJson::array(), heads = OrderedJson::array();
    std::map<std::string, OrderedJson> references;
    std::size_t entries = 0;
    auto add_node = [&](OrderedJson node, const std::vector<neff::TensorInfo>& outputs) {
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        references[outputs[i].name] = OrderedJson::array({nodes.size(), i, 0});
        shapes.push_back(outputs[i].shape);
        types.push_back(outputs[i].dtype);
      }
      entries += outputs.size();
      rows.push_back(entries);
      nodes.push_back(std::move(node));
    };
    auto add_operation = [&](const std::string& name, OrderedJson attributes, const std::vector<std::string>& inputs,
                             const std::vector<neff::TensorInfo>& outputs) {
      OrderedJson in = OrderedJson::array();
      for (const auto& input : inputs)
        if (references.contains(input)) in.push_back(references[input]);
      std::string names;
      for (const auto& output : outputs) names += (names.empty() ? "" : ",") + output.name;
      attributes["num_inputs"] = std::to_string(in.size());
      attributes["num_outputs"] = std::to_string(outputs.size());
      attributes["output_names"] = names;
      add_node({{"op", "tvm_op"}, {"name", name}, {"inputs", in}, {"attrs", attributes}}, outputs);
    };
    for (const auto& t : model.tensors)
      if (t.kind == neff::TensorKind::kInput) {
        arguments.push_back(nodes.size());
        add_node({{"op", "null"}, {"name", t.name}, {"inputs", OrderedJson::array()}}, {t});
      }
    for (const auto& c : model.constants) {
      const std::string path = "constants/" + std::to_string(nodes.size()) + ".npy";
      b.files[path] = *neff::write_npy({c.info.dtype, {c.info.shape.begin(), c.info.shape.end()}, c.data});
      add_node({{"op", "null"}, {"name", c.info.name}, {"inputs", OrderedJson::array()}, {"attrs", {{"file", path}}}},
               {c.info});
    }
    int kelfs = 0;
    for (std::size_t s = 0; s < model.steps.size();) {
      if (model.steps[s].kind == neff::Step::Kind::kCpu) {
        const neff::CpuNode& node = model.cpu_nodes[model.steps[s++].index];
        OrderedJson attributes{{"func_name", node.function}};
        for (const auto& [key, value] : node.attributes) attributes[key] = value;
        add_operation(node.name, attributes, node.inputs, node.outputs);
        continue;
      }
      const std::string kelf = "kelf-" + std::to_string(kelfs++) + ".json";
      OrderedJson graphs = OrderedJson::array();
      std::vector<std::string> inputs;
      std::vector<neff::TensorInfo> outputs;
      for (; s < model.steps.size() && model.steps[s].kind == neff::Step::Kind::kSubgraph; ++s) {
        const neff::Subgraph& g = model.subgraphs[model.steps[s].index];
        graphs.push_back({{"name", g.name}, {"definition", g.name + "/def.json"}});
        b.add_subgraph(g.name + "/", g);
        for (const auto& t : g.tensors) {
          if (t.kind == neff::TensorKind::kOutput)
            outputs.push_back(t);
          else
            inputs.push_back(t.name);
        }
      }
      b.json(kelf, {{"version", "0.5"}, {"target", neff::kTarget}, {"graphs", graphs}});
      add_operation(kelf, {{"func_name", "__kelf"}, {"kelf", kelf}}, inputs, outputs);
    }
    for (const auto& t : model.tensors)
      if (t.kind == neff::TensorKind::kOutput) heads.push_back(references.at(t.name));
    b.json("neff.json", {{"nodes", nodes},
                         {"arg_nodes", arguments},
                         {"heads", heads},
                         {"node_row_ptr", rows},
                         {"attrs",
                          {{"shape", OrderedJson::array({"list_shape", shapes})},
                           {"dltype", OrderedJson::array({"list_str", types})}}}});
    return b;
  }

  void add_subgraph(const std::string& folder, const neff::Subgraph& g) {
    OrderedJson definition{{"version", "0.6"}, {"opennrt", {{"isa_version", g.isa_version}}}};
    for (const auto& d : g.debug_tensors)
      definition["opennrt"]["debug_tensors"].push_back(
          {{"name", d.name}, {"dtype", d.dtype}, {"shape", d.shape}, {"variable", g.variables[d.variable].name}});
    definition["var"] = OrderedJson::object();
    for (const auto& v : g.variables) {
      static constexpr const char* kTypes[] = {"input", "output", "file", "tmp-buf", "state-buffer"};
      OrderedJson var{{"type", kTypes[static_cast<int>(v.type)]}, {"var_id", v.id}, {"size", v.size}};
      if (v.alignment != 0) var["alignment"] = v.alignment;
      if (v.type == neff::VariableType::kStateBuffer) var["address"] = v.address;
      if (v.type == neff::VariableType::kFile) {
        var["file_name"] = v.file_name;
        if (!v.file_name.ends_with(".npy"))
          files[folder + v.file_name] = v.data;
        else
          files[folder + v.file_name] = *neff::write_npy({"uint8", {v.data.size()}, v.data});
      }
      definition["var"][v.name] = var;
    }
    definition["dma_queue"] = OrderedJson::object();
    for (const auto& q : g.queues) {
      static constexpr const char* kTypes[] = {"in", "out", "data"};
      OrderedJson queue{
          {"type", kTypes[static_cast<int>(q.type)]}, {"num_queues", 1}, {"owner", isa::engine_name(q.owner)}};
      if (q.semaphore) queue["semaphore"] = *q.semaphore;
      if (q.pinned) queue["pinned"] = true;
      definition["dma_queue"][q.name] = queue;
    }
    for (std::size_t e = 0; e < isa::kEngines; ++e) {
      std::string name(isa::engine_name(static_cast<isa::Engine>(e)));
      definition[name] = name + ".json";
      OrderedJson engine{{"name", name}, {"instr", name + ".bin"}, {"dma", OrderedJson::array()}};
      for (const auto& d : g.engines[e].dma) {
        OrderedJson entry{{"id", d.id}, {"queue", g.queues[d.queue].name}};
        if (d.semaphore) entry["semaphore"] = *d.semaphore;
        if (d.event) entry["event"] = *d.event;
        entry["desc"] = {{"from", g.variables[d.from.variable].name},
                         {"from_off", d.from.offset},
                         {"from_sizes", d.from.sizes},
                         {"from_steps", d.from.steps},
                         {"to", g.variables[d.to.variable].name},
                         {"to_off", d.to.offset},
                         {"to_sizes", d.to.sizes},
                         {"to_steps", d.to.steps}};
        engine["dma"].push_back(entry);
      }
      json(folder + name + ".json", engine);
      files[folder + name + ".bin"] = g.engines[e].instructions;
    }
    json(folder + "def.json", definition);
    OrderedJson tensors = OrderedJson::object();
    for (const auto& t : g.tensors)
      tensors[t.name] = {
          {"kind", t.kind == neff::TensorKind::kInput ? "input" : "output"}, {"dtype", t.dtype}, {"shape", t.shape}};
    json(folder + "tensor_map.json", {{"tensors", tensors}});
  }
};

}  // namespace opennrt::test
