// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_set>

#include "core/neff/limits.h"
#include "core/neff/npy.h"
#include "core/neff/subgraph.h"

namespace opennrt::neff {
namespace {

TensorInfo read_tensor(const std::string& name, const Object& object, const SubgraphContext& context,
                       const Subgraph& subgraph) {
  TensorInfo tensor;
  Failure& failure = object.failure();
  tensor.name = name;
  std::string kind = object.text("kind", kMaxNameBytes);
  tensor.dtype = object.text("dtype", kMaxNameBytes);
  auto shape = object.numbers("shape", kMaxShapeDims, 0, UINT32_MAX);
  if (failure.failed()) return tensor;
  if (kind != "input" && kind != "output") {
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected input or output", object.path("kind"), shown(kind));
    return tensor;
  }
  tensor.kind = kind == "input" ? TensorKind::kInput : TensorKind::kOutput;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.bytes = tensor_bytes(tensor.dtype, object.path("dtype"), tensor.shape, object.path("shape"), failure);
  if (failure.failed()) return tensor;
  auto found = context.variables.find(name);
  VariableType wanted = tensor.kind == TensorKind::kInput ? VariableType::kInput : VariableType::kOutput;
  if (found == context.variables.end() || subgraph.variables[found->second].type != wanted)
    failure.set(ErrorCode::kInvalidFile, "{} is an {}, expected a variable of def.json with that name and type",
                object.path(), kind);
  else if (subgraph.variables[found->second].size != tensor.bytes)
    failure.set(ErrorCode::kInvalidFile, "{} and dtype make {} bytes, but the size of variable '{}' is {}",
                object.path("shape"), tensor.bytes, name, subgraph.variables[found->second].size);
  return tensor;
}

}  // namespace

std::uint64_t tensor_bytes(const std::string& dtype, const std::string& dtype_path,
                           const std::vector<std::uint32_t>& shape, const std::string& shape_path, Failure& failure) {
  std::uint64_t bytes = dtype_bytes(dtype);
  if (bytes == 0)
    failure.set(ErrorCode::kInvalidFile, "{} is {}, expected a type such as float32", dtype_path, shown(dtype));
  for (std::uint32_t size : shape)
    if (__builtin_mul_overflow(bytes, std::uint64_t{size}, &bytes)) {
      failure.set(ErrorCode::kInvalidFile, "{} has more than 2^64 bytes", shape_path);
      return 0;
    }
  return bytes;
}

Status read_tensor_map(SubgraphContext& context, Subgraph& subgraph) {
  std::string file = context.folder + "tensor_map.json";
  const auto* bytes = find_file(context, "tensor_map.json");
  if (bytes == nullptr) return make_error(ErrorCode::kInvalidFile, "{}: there is no such file in the payload", file);
  auto json = parse_json(*bytes, file);
  if (!json) return tl::unexpected(json.error());
  Failure failure(file);
  Object object(*json, "", failure);
  Object tensors = object.object("tensors");
  std::unordered_set<std::string> names;
  if (!failure.failed())
    for (const auto& [name, value] : tensors.value().items()) {
      subgraph.tensors.push_back(read_tensor(name, Object(value, "tensors." + name, failure), context, subgraph));
      names.insert(name);
      if (failure.failed()) break;
    }
  if (!failure.failed())
    for (const Variable& variable : subgraph.variables)
      if ((variable.type == VariableType::kInput || variable.type == VariableType::kOutput) &&
          !names.contains(variable.name))
        failure.set(ErrorCode::kInvalidFile,
                    "tensors.{} is missing, but def.json has a variable of that name that is an {}", variable.name,
                    variable.type == VariableType::kInput ? "input" : "output");
  if (failure.failed()) return tl::unexpected(failure.error());
  std::stable_partition(subgraph.tensors.begin(), subgraph.tensors.end(),
                        [](const TensorInfo& t) { return t.kind == TensorKind::kInput; });
  return {};
}

}  // namespace opennrt::neff
