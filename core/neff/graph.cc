// SPDX-License-Identifier: Apache-2.0
//
// The graph is TVM's: inputs and constants are nodes "null", a NeuronCore's work is a node "tvm_op" whose func_name is
// "__kelf", any other node runs on the CPU (README.md of this folder).
#include "core/neff/graph.h"

#include <functional>
#include <limits>
#include <queue>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "core/neff/limits.h"
#include "core/neff/npy.h"

namespace opennrt::neff {
namespace {

constexpr const char* kFile = "neff.json";
constexpr std::size_t kNoStep = std::numeric_limits<std::size_t>::max();

/// A value of the model: who makes it, and what it is.
struct Value {
  TensorInfo info;
  std::size_t step = kNoStep;  ///< in program order; kNoStep: an input of the model or a constant
};

struct Node {
  std::string path;                  ///< "nodes[3]"
  std::vector<std::string> outputs;  ///< names of values
  std::vector<std::string> inputs;
  std::size_t first_entry = 0;
};

bool same_type(const TensorInfo& a, const TensorInfo& b) {
  return a.dtype == b.dtype && a.shape == b.shape;
}

std::string type_text(const TensorInfo& info) {
  return fmt::format("{}[{}]", info.dtype, fmt::join(info.shape, ","));
}

class Resolver {
 public:
  Resolver(const GraphFile& graph, const Files& files, std::uint64_t constant_bytes_left, Neff& neff)
      : graph_(graph),
        files_(files),
        constant_bytes_left_(constant_bytes_left),
        neff_(neff),
        document_(graph.json, "", failure_),
        nodes_json_(document_.array("nodes", kMaxNodes)) {}

  Status run() {
    // In this order: each needs what the ones before it have found.
    for (auto step : {&Resolver::read_names, &Resolver::read_entries, &Resolver::define_values,
                      &Resolver::read_references, &Resolver::connect, &Resolver::read_heads, &Resolver::order_steps}) {
      (this->*step)();
      if (failure_.failed()) return tl::unexpected(failure_.error());
    }
    return {};
  }

 private:
  Object node(std::size_t i) { return {nodes_json_[i], nodes_[i].path, failure_}; }
  static bool is_operation(const Object& object) {
    return object.find("op") != nullptr && *object.find("op") != "null";
  }

  /// What every node puts out. `output_names` is a text with commas as TVM has it, or an array where a name may hold a comma.
  void read_names() {
    std::size_t entries = 0;
    nodes_.resize(nodes_json_.size());
    for (std::size_t i = 0; i < nodes_.size() && !failure_.failed(); ++i) {
      Node& result = nodes_[i];
      result.path = fmt::format("nodes[{}]", i);
      result.first_entry = entries;
      const Object object = node(i);
      const std::string name = object.text("name", kMaxNameBytes);
      if (!is_operation(object)) {
        result.outputs.push_back(name);
      } else {
        const Object attributes = object.object("attrs");
        const Json* names = attributes.require("output_names");
        if (names == nullptr) return;
        if (names->is_array()) {
          for (const Json& one : *names) {
            if (!one.is_string()) {
              failure_.set(ErrorCode::kInvalidFile, "{} holds {}, expected names", attributes.path("output_names"),
                           shown(one));
              return;
            }
            result.outputs.push_back(one.get<std::string>());
          }
        } else {
          const std::string text = attributes.text("output_names", kMaxJsonBytes);
          for (std::size_t begin = 0; begin <= text.size() && !failure_.failed();) {
            const std::size_t end = std::min(text.find(',', begin), text.size());
            result.outputs.push_back(text.substr(begin, end - begin));
            begin = end + 1;
          }
        }
        check_count(attributes, "num_outputs", result.outputs.size(), "output_names");
      }
      for (const std::string& output : result.outputs)
        if (output.empty() || output.size() > kMaxNameBytes)
          failure_.set(ErrorCode::kInvalidFile, "{}: a name of an output has {} bytes, expected 1 to {}", result.path,
                       output.size(), kMaxNameBytes);
      entries += result.outputs.size();
      if (entries > kMaxNodes)
        failure_.set(ErrorCode::kInvalidFile, "nodes put out more than {} values, which is the limit", kMaxNodes);
    }
  }

  /// TVM counts in texts: "2".
  void check_count(const Object& attributes, const char* key, std::size_t count, const char* of) {
    if (!attributes.has(key)) return;
    const std::string text = attributes.text(key, kMaxNameBytes);
    if (!failure_.failed() && text != std::to_string(count))
      failure_.set(ErrorCode::kInvalidFile, "{} is {}, but {} has {}", attributes.path(key), shown(text), of, count);
  }

  /// node_row_ptr, attrs.shape and attrs.dltype: the type of each output of each node.
  void read_entries() {
    const auto rows = document_.numbers("node_row_ptr", kMaxNodes + 1, 0, kMaxNodes);
    if (failure_.failed()) return;
    if (rows.size() != nodes_.size() + 1) {
      failure_.set(ErrorCode::kInvalidFile, "node_row_ptr has {} entries, expected one more than the {} nodes",
                   rows.size(), nodes_.size());
      return;
    }
    std::size_t total = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (rows[i] != nodes_[i].first_entry)
        failure_.set(ErrorCode::kInvalidFile, "node_row_ptr[{}] is {}, but the nodes before put out {} values", i,
                     rows[i], nodes_[i].first_entry);
      total = nodes_[i].first_entry + nodes_[i].outputs.size();
    }
    if (rows.back() != total)
      failure_.set(ErrorCode::kInvalidFile, "node_row_ptr[{}] is {}, but the nodes put out {} values", nodes_.size(),
                   rows.back(), total);
    const Object attributes = document_.object("attrs");
    const Json& shapes = list(attributes, "shape", "list_shape", total);
    const Json& types = list(attributes, "dltype", "list_str", total);
    for (std::size_t i = 0; i < total && !failure_.failed(); ++i) {
      TensorInfo info;
      const std::string shape_path = fmt::format("{}[1][{}]", attributes.path("shape"), i),
                        type_path = fmt::format("{}[1][{}]", attributes.path("dltype"), i);
      if (!types[i].is_string()) {
        failure_.set(ErrorCode::kInvalidFile, "{} is {}, expected a text", type_path, shown(types[i]));
        return;
      }
      info.dtype = types[i].get<std::string>();
      if (!shapes[i].is_array() || shapes[i].size() > kMaxShapeDims) {
        failure_.set(ErrorCode::kInvalidFile, "{} is {}, expected an array of at most {}", shape_path, shown(shapes[i]),
                     kMaxShapeDims);
        return;
      }
      for (const Json& size : shapes[i]) {
        if (!size.is_number_unsigned() || size.get<std::uint64_t>() < 1 || size.get<std::uint64_t>() > UINT32_MAX) {
          failure_.set(ErrorCode::kInvalidFile, "{} holds {}, expected whole numbers from 1 to {}", shape_path,
                       shown(size), UINT32_MAX);
          return;
        }
        info.shape.push_back(size.get<std::uint32_t>());
      }
      info.bytes = tensor_bytes(info.dtype, type_path, info.shape, shape_path, failure_);
      if (info.bytes > kMaxVariableBytes)
        failure_.set(ErrorCode::kInvalidFile, "{} and dltype make {} bytes, expected at most {}", shape_path,
                     info.bytes, kMaxVariableBytes);
      entries_.push_back(std::move(info));
    }
  }

  /// TVM's lists are pairs of a type's name and the list.
  const Json& list(const Object& attributes, const char* key, const char* type, std::size_t size) {
    static const Json kNone = Json::array();
    const Json& pair = attributes.array(key, 2);
    if (failure_.failed()) return kNone;
    if (pair.size() != 2 || pair[0] != type || !pair[1].is_array() || pair[1].size() != size) {
      failure_.set(ErrorCode::kInvalidFile,
                   "{} is {}, expected [\"{}\", [...]] with one entry for each of the {} values that nodes put out",
                   attributes.path(key),
                   pair.size() == 2 ? "[" + shown(pair[0]) + ", " + shown(pair[1]) + "]" : shown(pair), type, size);
      return kNone;
    }
    return pair[1];
  }

  TensorInfo entry(std::size_t node, std::size_t output) const {
    TensorInfo info = entries_[nodes_[node].first_entry + output];
    info.name = nodes_[node].outputs[output];
    return info;
  }

  void define(const std::string& where, TensorInfo info, std::size_t step) {
    std::string name = info.name;
    if (!values_.emplace(name, Value{std::move(info), step}).second)
      failure_.set(ErrorCode::kInvalidFile, "{}: value {} is there twice, expected names of values to be unique", where,
                   shown(name));
  }

  std::size_t add_step(Step step, std::string name) {
    steps_.push_back(step);
    step_names_.push_back(std::move(name));
    return steps_.size() - 1;
  }

  void define_values() {
    std::size_t next_kelf = 0;
    for (std::size_t i = 0; i < nodes_.size() && !failure_.failed(); ++i) {
      const Object object = node(i);
      if (!is_operation(object)) {
        define_leaf(i, object);
      } else if (next_kelf < graph_.kelfs.size() && graph_.kelfs[next_kelf].node == i) {
        define_kelf(i, graph_.kelfs[next_kelf++]);
      } else {
        define_cpu_node(i, object);
      }
    }
  }

  void define_leaf(std::size_t i, const Object& object) {
    TensorInfo info = entry(i, 0);
    info.kind = TensorKind::kInput;
    define(nodes_[i].path, info, kNoStep);
    const bool has_attributes = object.has("attrs");
    if (!has_attributes || !object.object("attrs").has("file")) {
      neff_.tensors.push_back(std::move(info));
      return;
    }
    const Object attributes = object.object("attrs");
    const std::string path = attributes.text("file", kMaxPathBytes);
    if (failure_.failed()) return;
    const auto found = files_.find(path);
    if (found == files_.end()) {
      failure_.set(ErrorCode::kInvalidFile, "{} is {}, but there is no such file in the payload",
                   attributes.path("file"), shown(path));
      return;
    }
    auto array = read_npy(found->second);
    if (!array) {
      failure_.set(array.error().code, "{} ({}): {}", attributes.path("file"), shown(path), array.error().message);
      return;
    }
    if (array->dtype != info.dtype ||
        !std::equal(array->shape.begin(), array->shape.end(), info.shape.begin(), info.shape.end())) {
      failure_.set(ErrorCode::kInvalidFile, "{} ({}) is {}[{}], but attrs say that it is {}", attributes.path("file"),
                   shown(path), array->dtype, fmt::join(array->shape, ","), type_text(info));
      return;
    }
    // Several nodes may name one file; what they take together is bounded, too.
    if (array->data.size() > constant_bytes_left_) {
      failure_.set(ErrorCode::kInvalidFile, "{} has {} bytes of data, but constants may take only {} bytes more",
                   attributes.path("file"), array->data.size(), constant_bytes_left_);
      return;
    }
    constant_bytes_left_ -= array->data.size();
    neff_.constants.push_back({std::move(info), std::move(array->data)});
  }

  /// What leaves a kelf is what its graphs put out; the node must say the same of what it passes on.
  void define_kelf(std::size_t i, const KelfNode& kelf) {
    std::unordered_map<std::string_view, const TensorInfo*> made;
    for (std::size_t g = kelf.first; g < kelf.first + kelf.count; ++g) {
      const Subgraph& subgraph = neff_.subgraphs[g];
      const std::size_t step = add_step({Step::Kind::kSubgraph, g}, fmt::format("subgraph '{}'", subgraph.name));
      for (const TensorInfo& tensor : subgraph.tensors) {
        if (tensor.kind != TensorKind::kOutput) continue;
        made.emplace(tensor.name, &tensor);
        define(step_names_[step], tensor, step);
      }
    }
    for (std::size_t k = 0; k < nodes_[i].outputs.size() && !failure_.failed(); ++k) {
      const TensorInfo info = entry(i, k);
      const auto found = made.find(info.name);
      if (found == made.end())
        failure_.set(ErrorCode::kInvalidFile, "{}.attrs.output_names has {}, which no graph of {} puts out",
                     nodes_[i].path, shown(info.name), kelf.file);
      else if (!same_type(*found->second, info))
        failure_.set(ErrorCode::kInvalidFile, "{}: value {} is {} in attrs, but {} in tensor_map.json", nodes_[i].path,
                     shown(info.name), type_text(info), type_text(*found->second));
    }
  }

  void define_cpu_node(std::size_t i, const Object& object) {
    static const std::set<std::string, std::less<>> kOfTheGraph{"func_name", "num_inputs", "num_outputs",
                                                                "output_names", "flatten_data"};
    CpuNode result;
    result.name = object.text("name", kMaxNameBytes);
    const Object attributes = object.object("attrs");
    result.function = attributes.text("func_name", kMaxNameBytes);
    if (failure_.failed()) return;
    if (attributes.value().size() > kMaxAttributes)
      failure_.set(ErrorCode::kInvalidFile, "{} has {} entries, expected at most {}", attributes.path(),
                   attributes.value().size(), kMaxAttributes);
    for (const auto& [key, value] : attributes.value().items())
      if (!failure_.failed() && !kOfTheGraph.contains(key))
        result.attributes[key] = attributes.text(key, kMaxPathBytes);
    if (!cpu_names_.insert(result.name).second)
      failure_.set(ErrorCode::kInvalidFile, "{} is {}, which is the name of another CPU node, too", object.path("name"),
                   shown(result.name));
    const std::size_t step =
        add_step({Step::Kind::kCpu, neff_.cpu_nodes.size()}, fmt::format("CPU node '{}'", result.name));
    for (std::size_t k = 0; k < nodes_[i].outputs.size(); ++k) {
      result.outputs.push_back(entry(i, k));
      define(nodes_[i].path, entry(i, k), step);
    }
    cpu_nodes_by_node_.emplace(i, neff_.cpu_nodes.size());
    neff_.cpu_nodes.push_back(std::move(result));
  }

  /// [node, output, version] → the value's name; nullptr after a failure.
  const std::string* referred(const Json& reference, const std::string& path) {
    const auto number = [&](std::size_t k, std::size_t below) {
      return reference[k].is_number_unsigned() && reference[k].get<std::uint64_t>() < below;
    };
    if (!reference.is_array() || reference.size() < 2 || reference.size() > 3) {
      failure_.set(ErrorCode::kInvalidFile, "{} is {}, expected [node, output, 0]", path, shown(reference));
      return nullptr;
    }
    if (!number(0, nodes_.size())) {
      failure_.set(ErrorCode::kInvalidFile, "{}[0] is {}, expected one of the {} nodes", path, shown(reference[0]),
                   nodes_.size());
      return nullptr;
    }
    const Node& from = nodes_[reference[0].get<std::size_t>()];
    if (!number(1, from.outputs.size())) {
      failure_.set(ErrorCode::kInvalidFile, "{}[1] is {}, but {} puts out {} values", path, shown(reference[1]),
                   from.path, from.outputs.size());
      return nullptr;
    }
    return &from.outputs[reference[1].get<std::size_t>()];
  }

  void read_references() {
    for (std::size_t i = 0; i < nodes_.size() && !failure_.failed(); ++i) {
      const Object object = node(i);
      if (!is_operation(object)) continue;
      const Json& inputs = object.array("inputs", kMaxNodes);
      for (std::size_t k = 0; k < inputs.size() && !failure_.failed(); ++k)
        if (const auto* name = referred(inputs[k], fmt::format("{}[{}]", object.path("inputs"), k)))
          nodes_[i].inputs.push_back(*name);
      check_count(object.object("attrs"), "num_inputs", nodes_[i].inputs.size(), "inputs");
      if (const auto found = cpu_nodes_by_node_.find(i); found != cpu_nodes_by_node_.end())
        neff_.cpu_nodes[found->second].inputs = nodes_[i].inputs;
    }
  }

  /// Which steps each step waits for.
  void connect() {
    waits_for_.resize(steps_.size());
    const auto wait = [&](std::size_t step, const Value& value) {
      if (value.step != kNoStep) waits_for_[step].push_back(value.step);
    };
    std::size_t step = 0, next_kelf = 0;
    for (std::size_t i = 0; i < nodes_.size() && !failure_.failed(); ++i) {
      if (const auto found = cpu_nodes_by_node_.find(i); found != cpu_nodes_by_node_.end()) {
        for (const std::string& input : neff_.cpu_nodes[found->second].inputs) wait(step, values_.at(input));
        ++step;
      } else if (next_kelf < graph_.kelfs.size() && graph_.kelfs[next_kelf].node == i) {
        const KelfNode& kelf = graph_.kelfs[next_kelf++];
        const std::unordered_set<std::string_view> given(nodes_[i].inputs.begin(), nodes_[i].inputs.end());
        const std::size_t first_step = step;
        for (std::size_t g = kelf.first; g < kelf.first + kelf.count; ++g, ++step)
          for (const TensorInfo& tensor : neff_.subgraphs[g].tensors) {
            if (tensor.kind != TensorKind::kInput) continue;
            const auto found_value = values_.find(tensor.name);
            if (found_value == values_.end()) {
              failure_.set(ErrorCode::kInvalidFile, "{} has the input {}, which nothing puts out", step_names_[step],
                           shown(tensor.name));
              return;
            }
            const Value& value = found_value->second;
            const bool inside =
                value.step != kNoStep && value.step >= first_step && value.step < first_step + kelf.count;
            if (!inside && !given.contains(tensor.name))
              failure_.set(ErrorCode::kInvalidFile, "{} has the input {}, which is not among {}.inputs",
                           step_names_[step], shown(tensor.name), nodes_[i].path);
            if (!same_type(value.info, tensor))
              failure_.set(ErrorCode::kInvalidFile, "{} has the input {} of {}, but that value is {}",
                           step_names_[step], shown(tensor.name), type_text(tensor), type_text(value.info));
            wait(step, value);
          }
      }
    }
  }

  void read_heads() {
    const Json& heads = document_.array("heads", kMaxNodes);
    if (!failure_.failed() && heads.empty())
      failure_.set(ErrorCode::kInvalidFile, "heads is empty, expected the outputs of the model");
    std::unordered_set<std::string_view> seen;
    for (std::size_t k = 0; k < heads.size() && !failure_.failed(); ++k) {
      const std::string path = fmt::format("heads[{}]", k);
      const std::string* name = referred(heads[k], path);
      if (name == nullptr) return;
      const Value& value = values_.at(*name);
      if (value.step == kNoStep)
        failure_.set(ErrorCode::kInvalidFile, "{} is value {}, which no step puts out", path, shown(*name));
      if (!seen.insert(*name).second)
        failure_.set(ErrorCode::kInvalidFile, "{} is value {}, which is there twice", path, shown(*name));
      TensorInfo info = value.info;
      info.kind = TensorKind::kOutput;
      neff_.tensors.push_back(std::move(info));
    }
  }

  /// Among the steps that can run, the first of the file does.
  void order_steps() {
    std::vector<std::size_t> open(steps_.size(), 0);
    std::vector<std::vector<std::size_t>> followers(steps_.size());
    std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      open[s] = waits_for_[s].size();
      for (std::size_t before : waits_for_[s]) followers[before].push_back(s);
      if (open[s] == 0) ready.push(s);
    }
    while (!ready.empty()) {
      const std::size_t s = ready.top();
      ready.pop();
      neff_.steps.push_back(steps_[s]);
      for (std::size_t after : followers[s])
        if (--open[after] == 0) ready.push(after);
    }
    if (neff_.steps.size() == steps_.size()) return;
    for (std::size_t s = 0; s < steps_.size(); ++s)
      if (open[s] != 0) {
        failure_.set(ErrorCode::kInvalidFile, "the nodes form a cycle: {} of {} steps can never run, the first is {}",
                     steps_.size() - neff_.steps.size(), steps_.size(), step_names_[s]);
        return;
      }
  }

  const GraphFile& graph_;
  const Files& files_;
  std::uint64_t constant_bytes_left_;
  Neff& neff_;
  Failure failure_{kFile};
  Object document_;
  const Json& nodes_json_;
  std::vector<Node> nodes_;
  std::vector<TensorInfo> entries_;
  std::unordered_map<std::string, Value> values_;
  std::vector<Step> steps_;  ///< in the order of the nodes
  std::vector<std::string> step_names_;
  std::vector<std::vector<std::size_t>> waits_for_;
  std::unordered_set<std::string> cpu_names_;
  std::unordered_map<std::size_t, std::size_t> cpu_nodes_by_node_;
};

}  // namespace

Result<GraphFile> read_graph(const Files& files) {
  const auto found = files.find(kFile);
  if (found == files.end())
    return make_error(ErrorCode::kInvalidFile, "{}: there is no such file in the payload", kFile);
  auto json = parse_json(found->second, kFile);
  if (!json) return tl::unexpected(json.error());
  GraphFile graph{std::move(*json), {}};
  Failure failure(kFile);
  const Object document(graph.json, "", failure);
  const Json& nodes = document.array("nodes", kMaxNodes);
  for (std::size_t i = 0; i < nodes.size() && !failure.failed(); ++i) {
    const Object node(nodes[i], fmt::format("nodes[{}]", i), failure);
    const std::string op = node.text("op", kMaxNameBytes);
    if (failure.failed() || op == "null") continue;
    if (op != "tvm_op") {
      failure.set(ErrorCode::kInvalidFile, "{} is {}, expected null or tvm_op", node.path("op"), shown(op));
      break;
    }
    const Object attributes = node.object("attrs");
    if (attributes.text("func_name", kMaxNameBytes) != "__kelf") continue;
    std::string kelf = attributes.text("kelf", kMaxPathBytes);
    if (!failure.failed() && !files.contains(kelf))
      failure.set(ErrorCode::kInvalidFile, "{} is {}, but there is no such file in the payload",
                  attributes.path("kelf"), shown(kelf));
    graph.kelfs.push_back({i, std::move(kelf), 0, 0});
  }
  if (!failure.failed() && graph.kelfs.empty())
    failure.set(ErrorCode::kInvalidFile, "nodes names no kelf, expected a node with func_name \"__kelf\"");
  if (!failure.failed() && graph.kelfs.size() > kMaxSubgraphs)
    failure.set(ErrorCode::kInvalidFile, "nodes names {} kelfs, expected at most {}", graph.kelfs.size(),
                kMaxSubgraphs);
  if (failure.failed()) return tl::unexpected(failure.error());
  return graph;
}

Status resolve_graph(const GraphFile& graph, const Files& files, std::uint64_t constant_bytes_left, Neff& neff) {
  // A file of one subgraph may leave the graph out: then its tensors are those of the model.
  bool only_kelf = neff.subgraphs.size() == 1;
  for (const Json& node : graph.json.at("nodes")) {
    const bool other = node.value("op", "") == "tvm_op" && node.at("attrs").value("func_name", "") != "__kelf";
    only_kelf = only_kelf && !other;
  }
  if (only_kelf && !graph.json.contains("heads")) {
    neff.tensors = neff.subgraphs.front().tensors;
    neff.steps = {{Step::Kind::kSubgraph, 0}};
    return {};
  }
  return Resolver(graph, files, constant_bytes_left, neff).run();
}

}  // namespace opennrt::neff
