// SPDX-License-Identifier: Apache-2.0
//
// Models: load, describe, execute, unload.
#include <cstdlib>

#include "core/api/execution.h"

using namespace opennrt;
using namespace opennrt::api;

namespace {

nrt_dtype_t dtype_of(const std::string& name) {
  struct Known {
    const char* name;
    nrt_dtype_t type;
  };
  constexpr Known kKnown[] = {
      {"float32", NRT_DTYPE_FLOAT32}, {"float16", NRT_DTYPE_FLOAT16}, {"bfloat16", NRT_DTYPE_BFLOAT16},
      {"int8", NRT_DTYPE_INT8},       {"uint8", NRT_DTYPE_UINT8},     {"int16", NRT_DTYPE_INT16},
      {"uint16", NRT_DTYPE_UINT16},   {"int32", NRT_DTYPE_INT32},     {"uint32", NRT_DTYPE_UINT32},
      {"int64", NRT_DTYPE_INT64},     {"uint64", NRT_DTYPE_UINT64}};
  for (const Known& known : kKnown) {
    if (name == known.name) return known.type;
  }
  return NRT_DTYPE_UNKNOWN;
}

/// One malloc block: the array, then every shape.
Result<nrt_tensor_info_array_t*> describe(const std::vector<neff::TensorInfo>& tensors) {
  std::size_t extents = 0;
  for (const neff::TensorInfo& tensor : tensors) extents += tensor.shape.size();
  const std::size_t head = sizeof(nrt_tensor_info_array_t) + tensors.size() * sizeof(nrt_tensor_info_t);
  void* block = std::calloc(1, head + extents * sizeof(std::uint32_t));
  if (block == nullptr)
    return make_error(ErrorCode::kResource, "host memory for the description of {} tensors is not available",
                      tensors.size());
  auto* array = static_cast<nrt_tensor_info_array_t*>(block);
  auto* shapes = reinterpret_cast<std::uint32_t*>(static_cast<std::byte*>(block) + head);
  array->tensor_count = tensors.size();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const neff::TensorInfo& tensor = tensors[i];
    nrt_tensor_info_t& info = array->tensor_array[i];
    tensor.name.copy(info.name, sizeof(info.name) - 1);
    info.usage = tensor.kind == neff::TensorKind::kInput ? NRT_TENSOR_USAGE_INPUT : NRT_TENSOR_USAGE_OUTPUT;
    info.size = tensor.bytes;
    info.dtype = dtype_of(tensor.dtype);
    info.shape = shapes;
    info.ndim = static_cast<std::uint32_t>(tensor.shape.size());
    for (const std::uint32_t extent : tensor.shape) *shapes++ = extent;
  }
  return array;
}

NRT_STATUS execute(const char* function, nrt_model_t* model, const nrt_tensor_set_t* input_set,
                   nrt_tensor_set_t* output_set, int repeat) {
  return while_open_status(function, [&](Process& process, Runtime& runtime) -> NRT_STATUS {
    const auto found = process.models.get(model);
    if (!found) return fail(function, found.error());
    const auto inputs = process.tensor_sets.get(input_set);
    if (!inputs) return fail(function, with_context(inputs.error(), "input_set").value());
    const auto outputs = process.tensor_sets.get(output_set);
    if (!outputs) return fail(function, with_context(outputs.error(), "output_set").value());
    if (repeat < 1) {
      return fail(function,
                  Error{ErrorCode::kInvalidArgument, fmt::format("repeat_count is {}, expected at least 1", repeat)});
    }
    if (runtime.async().enabled()) return enqueue(function, runtime, *found, **inputs, **outputs, repeat);
    return run(function, **found, **inputs, **outputs, repeat);
  });
}

NRT_STATUS core_count(const char* function, const nrt_model_t* model, std::uint32_t* count) {
  return while_open(function, [&](Process& process, Runtime&) -> Status {
    const auto found = process.models.get(model);
    if (!found) return tl::unexpected(found.error());
    if (const Status there = require(count, "vnc_count"); !there) return there;
    *count = (*found)->cores_per_replica();
    return {};
  });
}

}  // namespace

NRT_STATUS opennrt::api::run(const char* function, Model& model, const TensorSet& inputs, const TensorSet& outputs,
                             int repeat, std::optional<std::uint32_t> vnc) {
  const auto report = model.execute(inputs, outputs, repeat, vnc);
  if (!report) return fail(function, report.error());
  const NRT_STATUS status = to_status(report->outcome);
  if (status != NRT_SUCCESS) {
    observe::log(observe::Component::kNrt, observe::Level::kError, function,
                 "Failed to execute model {} with status {} ({})", model.name(), static_cast<int>(status),
                 native::nrt_get_status_as_str(status));
  }
  return status;
}

namespace opennrt::api::native {

NRT_STATUS nrt_load(const void* neff_bytes, size_t size, int32_t vnc, int32_t vnc_count, nrt_model_t** model) {
  return while_open("nrt_load", [&](Process& process, Runtime& runtime) -> Status {
    if (const Status there = require(neff_bytes, "neff_bytes"); !there) return there;
    if (const Status there = require(model, "model"); !there) return there;
    auto loaded = runtime.load({static_cast<const std::byte*>(neff_bytes), size}, vnc, vnc_count);
    if (!loaded) return tl::unexpected(loaded.error());
    if (observe::trace::on()) {
      observe::trace::note({observe::trace::Subject::Kind::kModel, static_cast<std::int32_t>((*loaded)->vnc()),
                            (*loaded)->name(), (*loaded)->neff_id(), 0});
    }
    *model = static_cast<nrt_model_t*>(process.models.add(std::move(*loaded)));
    return {};
  });
}

NRT_STATUS nrt_unload(nrt_model_t* model) {
  return while_open("nrt_unload", [&](Process& process, Runtime& runtime) -> Status {
    const std::shared_ptr<Model> taken = process.models.remove(model);
    if (taken == nullptr) {
      const auto found = process.models.get(model);  // says what is wrong with it
      return found ? make_error(ErrorCode::kInternal, "model handle came back") : tl::unexpected(found.error());
    }
    runtime.unload(*taken);
    return {};
  });
}

NRT_STATUS nrt_get_model_nc_count(const nrt_model_t* model, uint32_t* vnc_count) {
  return core_count("nrt_get_model_nc_count", model, vnc_count);
}
NRT_STATUS nrt_get_model_vnc_count(const nrt_model_t* model, uint32_t* vnc_count) {
  return core_count("nrt_get_model_vnc_count", model, vnc_count);
}

NRT_STATUS nrt_get_model_instance_count(nrt_model_t* model, uint32_t* instance_count) {
  return while_open("nrt_get_model_instance_count", [&](Process& process, Runtime&) -> Status {
    const auto found = process.models.get(model);
    if (!found) return tl::unexpected(found.error());
    if (const Status there = require(instance_count, "instance_count"); !there) return there;
    *instance_count = static_cast<std::uint32_t>((*found)->vncs().size());
    return {};
  });
}

NRT_STATUS nrt_get_model_info(const nrt_model_t* model, nrt_model_info_t* info, size_t info_size_in,
                              size_t* info_size_out) {
  return while_open("nrt_get_model_info", [&](Process& process, Runtime&) -> Status {
    const auto found = process.models.get(model);
    if (!found) return tl::unexpected(found.error());
    return copy_front(nrt_model_info_t{(*found)->vnc()}, info, info_size_in, info_size_out, "info");
  });
}

NRT_STATUS nrt_get_model_tensor_info(nrt_model_t* model, nrt_tensor_info_array_t** tensor_info) {
  return while_open("nrt_get_model_tensor_info", [&](Process& process, Runtime&) -> Status {
    const auto found = process.models.get(model);
    if (!found) return tl::unexpected(found.error());
    if (const Status there = require(tensor_info, "tensor_info"); !there) return there;
    const auto array = describe((*found)->tensors());
    if (!array) return tl::unexpected(array.error());
    process.remember_info(*array);
    *tensor_info = *array;
    return {};
  });
}

NRT_STATUS nrt_free_model_tensor_info(nrt_tensor_info_array_t* tensor_info) {
  return any_time("nrt_free_model_tensor_info", [&](Process& process) -> Status {
    if (const Status there = require(tensor_info, "tensor_info"); !there) return there;
    if (!process.forget_info(tensor_info)) {
      return make_error(ErrorCode::kInvalidHandle,
                        "tensor_info is {}, which nrt_get_model_tensor_info did not give out or which has been "
                        "freed",
                        fmt::ptr(tensor_info));
    }
    std::free(tensor_info);
    return {};
  });
}

NRT_STATUS nrt_execute(nrt_model_t* model, const nrt_tensor_set_t* input_set, nrt_tensor_set_t* output_set) {
  return execute("nrt_execute", model, input_set, output_set, 1);
}

NRT_STATUS nrt_execute_repeat(nrt_model_t* model, const nrt_tensor_set_t* input_set, nrt_tensor_set_t* output_set,
                              int repeat_count) {
  return execute("nrt_execute_repeat", model, input_set, output_set, repeat_count);
}

}  // namespace opennrt::api::native
