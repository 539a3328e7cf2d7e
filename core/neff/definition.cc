// SPDX-License-Identifier: Apache-2.0
//
// def.json (aws-neuron-sdk neuron-runtime/explore/work-with-neff-files.rst, "def.json").
#include <set>

#include "core/common/bytes.h"
#include "core/isa/inf1.h"
#include "core/neff/limits.h"
#include "core/neff/npy.h"
#include "core/neff/subgraph.h"

namespace opennrt::neff {
namespace {

constexpr std::string_view kVersion = "0.6";
constexpr std::string_view kNotInf1 = "NeuronCore-v1 does not have it";
constexpr std::uint64_t kSbufWindowBytes = inf1::chosen::kSbufPartitionStride * inf1::chosen::kPartitions;

std::optional<isa::Engine> engine_of(std::string_view name) {
  for (std::size_t i = 0; i < isa::kEngines; ++i)
    if (name == isa::engine_name(static_cast<isa::Engine>(i))) return static_cast<isa::Engine>(i);
  return std::nullopt;
}

std::optional<VariableType> variable_type(const Object& object) {
  std::string type = object.text("type", kMaxNameBytes);
  if (type == "input") return VariableType::kInput;
  if (type == "output") return VariableType::kOutput;
  if (type == "file") return VariableType::kFile;
  if (type == "tmp-buf") return VariableType::kTmpBuf;
  if (type == "state-buffer") return VariableType::kStateBuffer;
  if (type == "virtual" || type == "pointer" || type == "dge-table")
    object.failure().set(ErrorCode::kUnsupported, "{} is \"{}\": {}", object.path("type"), type, kNotInf1);
  else
    object.failure().set(ErrorCode::kInvalidFile, "{} is {}, expected input, output, file, tmp-buf or state-buffer",
                         object.path("type"), shown(type));
  return std::nullopt;
}

void read_constant(const Object& object, SubgraphContext& context, Variable& variable) {
  Failure& failure = object.failure();
  variable.file_name = object.text("file_name", kMaxPathBytes);
  if (failure.failed()) return;
  const auto* file = find_file(context, variable.file_name);
  if (file == nullptr) {
    failure.set(ErrorCode::kInvalidFile, "{} is \"{}\", but there is no such file in the payload",
                object.path("file_name"), variable.file_name);
    return;
  }
  // Several variables may name one file; what they take together is bounded, too.
  if (variable.size > context.constant_bytes_left) {
    failure.set(ErrorCode::kInvalidFile, "{} is {}, but constants may take only {} bytes more", object.path("size"),
                variable.size, context.constant_bytes_left);
    return;
  }
  std::vector<std::byte> data;
  if (variable.file_name.ends_with(".npy")) {
    auto array = read_npy(*file);
    if (!array) {
      failure.set(array.error().code, "{} (\"{}\"): {}", object.path("file_name"), variable.file_name,
                  array.error().message);
      return;
    }
    data = std::move(array->data);
  } else {
    data = *file;
  }
  if (data.size() != variable.size) {
    failure.set(ErrorCode::kInvalidFile, "{} is {}, but \"{}\" holds {} bytes of data", object.path("size"),
                variable.size, variable.file_name, data.size());
    return;
  }
  context.constant_bytes_left -= data.size();
  variable.data = std::move(data);
}

Variable read_variable(const std::string& name, const Object& object, SubgraphContext& context) {
  Variable variable;
  variable.name = name;
  Failure& failure = object.failure();
  auto type = variable_type(object);
  if (!type) return variable;
  variable.type = *type;
  variable.id = object.number("var_id", 0, UINT64_MAX);
  variable.size = object.number("size", 1, kMaxVariableBytes);
  variable.alignment = object.number_or("alignment", 0, 0, kMaxAlignment);
  if (variable.alignment != 0 && !is_power_of_two(variable.alignment))
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected 0 or a power of two", object.path("alignment"),
                variable.alignment);
  object.refuse({"backing_variable_off", "referenced_var_id", "list"}, kNotInf1);
  if (object.has("fabric_path") && object.text("fabric_path", kMaxNameBytes) != "main")
    failure.set(ErrorCode::kUnsupported, "{} is {}, expected \"main\"", object.path("fabric_path"),
                shown(*object.find("fabric_path")));
  if (object.has("file_name") != (*type == VariableType::kFile))
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected exactly with type \"file\"", object.path("file_name"),
                object.has("file_name") ? "there" : "missing");
  if (*type == VariableType::kStateBuffer) {
    variable.address = object.number_or("address", 0, 0, kSbufWindowBytes);
    if (variable.size > kSbufWindowBytes - variable.address)
      failure.set(ErrorCode::kInvalidFile,
                  "{} is {} at address {}, expected to end within the state buffer's window of {}", object.path("size"),
                  variable.size, variable.address, kSbufWindowBytes);
  } else if (object.has("address")) {
    failure.set(ErrorCode::kInvalidFile, "{} is there, expected only with type \"state-buffer\"",
                object.path("address"));
  }
  if (*type == VariableType::kFile && !failure.failed()) read_constant(object, context, variable);
  return variable;
}

void read_variables(const Object& definition, SubgraphContext& context, Subgraph& subgraph) {
  Object variables = definition.object("var");
  Failure& failure = definition.failure();
  if (failure.failed()) return;
  if (variables.value().size() > kMaxVariables) {
    failure.set(ErrorCode::kInvalidFile, "var has {} variables, expected at most {}", variables.value().size(),
                kMaxVariables);
    return;
  }
  std::unordered_map<std::uint64_t, std::string> ids;
  for (const auto& [name, value] : variables.value().items()) {
    if (name.empty() || name.size() > kMaxNameBytes) {
      failure.set(ErrorCode::kInvalidFile, "var: a name has {} bytes, expected 1 to {}", name.size(), kMaxNameBytes);
      return;
    }
    Variable variable = read_variable(name, Object(value, "var." + name, failure), context);
    if (failure.failed()) return;
    auto [other, is_new] = ids.emplace(variable.id, name);
    if (!is_new) {
      failure.set(ErrorCode::kInvalidFile, "var.{}.var_id is {}, which is also that of {}, expected it to be unique",
                  name, variable.id, other->second);
      return;
    }
    context.variables.emplace(name, subgraph.variables.size());
    subgraph.variables.push_back(std::move(variable));
  }
}

void read_queue(const std::string& name, const Object& object, SubgraphContext& context, Subgraph& subgraph) {
  Failure& failure = object.failure();
  QueueSet queue;
  queue.name = name;
  std::string type = object.text("type", kMaxNameBytes);
  if (type == "in")
    queue.type = QueueType::kIn;
  else if (type == "out")
    queue.type = QueueType::kOut;
  else if (type == "data")
    queue.type = QueueType::kData;
  else if (type == "embedding_update" || type == "dynamic")
    failure.set(ErrorCode::kUnsupported, "{} is \"{}\": {}", object.path("type"), type, kNotInf1);
  else
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected in, out or data", object.path("type"), shown(type));
  if (object.number_or("num_queues", 1, 0, UINT32_MAX) != 1)
    failure.set(ErrorCode::kUnsupported, "{} is {}, expected 1: NeuronCore-v1 has one queue per queue set",
                object.path("num_queues"), shown(*object.find("num_queues")));
  object.refuse({"queue_instances"}, kNotInf1);
  if (object.has("fabric_path") && object.text("fabric_path", kMaxNameBytes) != "main")
    failure.set(ErrorCode::kUnsupported, "{} is {}, expected \"main\"", object.path("fabric_path"),
                shown(*object.find("fabric_path")));
  queue.pinned = object.flag_or("pinned", false);
  if (object.has("semaphore"))
    queue.semaphore = static_cast<std::uint32_t>(object.number("semaphore", 0, inf1::kSemaphores - 1));
  if (object.has("semaphore_set")) {
    auto set = object.numbers("semaphore_set", inf1::kSemaphores, 0, inf1::kSemaphores - 1);
    if (set.size() != 1 || (queue.semaphore && *queue.semaphore != set[0]))
      failure.set(ErrorCode::kInvalidFile, "{} has {} semaphores, expected the one of the queue",
                  object.path("semaphore_set"), set.size());
    else
      queue.semaphore = static_cast<std::uint32_t>(set[0]);
  }
  bool has_owner = object.has("owner");
  if (has_owner) {
    std::string owner = object.text("owner", kMaxNameBytes);
    auto engine = engine_of(owner);
    if (!engine)
      failure.set(ErrorCode::kInvalidFile, "{} is {}, expected pe, act or pool", object.path("owner"), shown(owner));
    else
      queue.owner = *engine;
  }
  context.queues.emplace(name, subgraph.queues.size());
  context.queue_has_owner.push_back(has_owner);
  subgraph.queues.push_back(std::move(queue));
}

void read_queues(const Object& definition, SubgraphContext& context, Subgraph& subgraph) {
  if (!definition.has("dma_queue")) return;
  Object queues = definition.object("dma_queue");
  Failure& failure = definition.failure();
  if (failure.failed()) return;
  if (queues.value().size() > kMaxQueues)
    failure.set(ErrorCode::kInvalidFile, "dma_queue has {} queue sets, expected at most {}", queues.value().size(),
                kMaxQueues);
  for (const auto& [name, value] : queues.value().items()) {
    if (failure.failed()) return;
    if (name.empty() || name.size() > kMaxNameBytes)
      failure.set(ErrorCode::kInvalidFile, "dma_queue: a name has {} bytes, expected 1 to {}", name.size(),
                  kMaxNameBytes);
    read_queue(name, Object(value, "dma_queue." + name, failure), context, subgraph);
  }
}

/// opennrt.debug_tensors: what the debug stream reports.
void read_debug_tensors(const Object& ours, SubgraphContext& context, Subgraph& subgraph) {
  if (!ours.has("debug_tensors")) return;
  Failure& failure = ours.failure();
  std::set<std::string> names;
  const Json& list = ours.array("debug_tensors", kMaxVariables);
  for (std::size_t i = 0; i < list.size() && !failure.failed(); ++i) {
    Object object(list[i], fmt::format("{}[{}]", ours.path("debug_tensors"), i), failure);
    DebugTensor tensor;
    tensor.name = object.text("name", kMaxNameBytes);
    tensor.dtype = object.text("dtype", kMaxNameBytes);
    auto shape = object.numbers("shape", kMaxShapeDims, 0, UINT32_MAX);
    std::string variable = object.text("variable", kMaxNameBytes);
    if (failure.failed()) return;
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.bytes = tensor_bytes(tensor.dtype, object.path("dtype"), tensor.shape, object.path("shape"), failure);
    if (!names.insert(tensor.name).second)
      failure.set(ErrorCode::kInvalidFile, "{} is {}, which is there twice", object.path("name"), shown(tensor.name));
    auto found = context.variables.find(variable);
    if (found == context.variables.end()) {
      failure.set(ErrorCode::kInvalidFile, "{} is {}, expected a variable of var", object.path("variable"),
                  shown(variable));
      return;
    }
    const Variable& of = subgraph.variables[found->second];
    if (of.type != VariableType::kTmpBuf && of.type != VariableType::kOutput)
      failure.set(ErrorCode::kInvalidFile, "{} is {}, which is of type \"{}\", expected a tmp-buf or an output",
                  object.path("variable"), shown(variable), type_name(of.type));
    if (tensor.bytes > of.size)
      failure.set(ErrorCode::kInvalidFile, "{} and dtype make {} bytes, but variable '{}' has {}", object.path("shape"),
                  tensor.bytes, variable, of.size);
    tensor.variable = found->second;
    subgraph.debug_tensors.push_back(std::move(tensor));
  }
}

}  // namespace

const std::vector<std::byte>* find_file(const SubgraphContext& context, const std::string& name) {
  auto found = context.files.find(context.folder + name);
  return found == context.files.end() ? nullptr : &found->second;
}

Status read_definition(const std::string& file, SubgraphContext& context, Subgraph& subgraph) {
  auto bytes = context.files.find(file);
  if (bytes == context.files.end())
    return make_error(ErrorCode::kInvalidFile, "{}: there is no such file in the payload", file);
  auto json = parse_json(bytes->second, file);
  if (!json) return tl::unexpected(json.error());
  Failure failure(file);
  Object definition(*json, "", failure);
  std::string version = definition.text("version", kMaxNameBytes);
  if (version != kVersion)
    failure.set(ErrorCode::kUnsupportedVersion, "version is {}, expected \"{}\"", shown(version), kVersion);
  definition.refuse({"dve", "sp", "gpsimd"}, "NeuronCore-v1 does not have this engine");
  for (std::size_t i = 0; i < isa::kEngines; ++i) {
    std::string name(isa::engine_name(static_cast<isa::Engine>(i)));
    if (definition.has(name)) context.engine_files[i] = definition.text(name, kMaxPathBytes);
    if (definition.has(name + "_instr")) context.instruction_files[i] = definition.text(name + "_instr", kMaxPathBytes);
  }
  if (definition.has("opennrt"))
    subgraph.isa_version =
        static_cast<std::uint32_t>(definition.object("opennrt").number("isa_version", 1, UINT32_MAX));
  if (!failure.failed()) read_variables(definition, context, subgraph);
  if (!failure.failed()) read_queues(definition, context, subgraph);
  if (!failure.failed() && definition.has("opennrt"))
    read_debug_tensors(definition.object("opennrt"), context, subgraph);
  if (failure.failed()) return tl::unexpected(failure.error());
  return {};
}

}  // namespace opennrt::neff
