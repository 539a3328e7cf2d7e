// SPDX-License-Identifier: Apache-2.0
#include "tools/support/client.h"

#include <cstring>

namespace opennrt::client {
namespace {

ErrorCode code_of(NRT_STATUS status) {
  switch (status) {
    case NRT_INVALID:
    case NRT_EXEC_BAD_INPUT:
      return ErrorCode::kInvalidArgument;
    case NRT_INVALID_HANDLE:
      return ErrorCode::kInvalidHandle;
    case NRT_RESOURCE:
      return ErrorCode::kResource;
    case NRT_LOAD_NOT_ENOUGH_NC:
      return ErrorCode::kNotEnoughCores;
    case NRT_UNSUPPORTED_NEFF_VERSION:
      return ErrorCode::kUnsupportedVersion;
    case NRT_TIMEOUT:
      return ErrorCode::kTimeout;
    case NRT_UNINITIALIZED:
    case NRT_CLOSED:
      return ErrorCode::kState;
    default:
      return ErrorCode::kHardware;
  }
}

}  // namespace

Status check(NRT_STATUS status, const std::string& what) {
  if (status == NRT_SUCCESS) return {};
  const char* name = nrt_get_status_as_str(status);
  return make_error(code_of(status), "{} failed: {} ({})", what, name != nullptr ? name : "unknown status",
                    static_cast<int>(status));
}

Result<Session> Session::open() {
  if (auto status = check(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init"); !status)
    return tl::unexpected<Error>(status.error());
  return Session();
}

void Session::close() {
  if (std::exchange(open_, false)) nrt_close();
}

Result<Model> Model::load(std::span<const std::byte> neff, int core, const std::string& name) {
  Model model;
  model.name_ = name;
  if (auto status = check(nrt_load(neff.data(), neff.size(), core, -1, &model.handle_), "loading " + name); !status)
    return tl::unexpected<Error>(status.error());
  nrt_tensor_info_array_t* array = nullptr;
  if (auto status = check(nrt_get_model_tensor_info(model.handle_, &array), "asking for the tensors of " + name);
      !status)
    return tl::unexpected<Error>(status.error());
  for (std::uint64_t i = 0; i < array->tensor_count; ++i) {
    const nrt_tensor_info_t& from = array->tensor_array[i];
    TensorInfo info;
    info.name.assign(from.name, ::strnlen(from.name, sizeof from.name));
    info.input = from.usage == NRT_TENSOR_USAGE_INPUT;
    info.dtype = from.dtype;
    info.bytes = from.size;
    info.shape.assign(from.shape, from.shape + from.ndim);
    model.tensors_.push_back(std::move(info));
  }
  nrt_free_model_tensor_info(array);
  return model;
}

Model::~Model() {
  if (handle_ != nullptr) nrt_unload(handle_);
}

Result<Tensor> Tensor::allocate(nrt_tensor_placement_t placement, int core, std::size_t bytes,
                                const std::string& name) {
  Tensor tensor;
  if (auto status = check(nrt_tensor_allocate(placement, core, bytes, name.c_str(), &tensor.handle_),
                          fmt::format("allocating tensor {} ({} bytes)", name, bytes));
      !status)
    return tl::unexpected<Error>(status.error());
  return tensor;
}

Tensor::~Tensor() {
  if (handle_ != nullptr) nrt_tensor_free(&handle_);
}

Status Tensor::write(std::span<const std::byte> bytes) {
  return check(nrt_tensor_write(handle_, bytes.data(), 0, bytes.size()), "nrt_tensor_write");
}

Status Tensor::read(std::span<std::byte> bytes) const {
  return check(nrt_tensor_read(handle_, bytes.data(), 0, bytes.size()), "nrt_tensor_read");
}

Result<Binding> Binding::make(const Model& model, nrt_tensor_placement_t placement, int core) {
  Binding binding;
  for (nrt_tensor_set_t** set : {&binding.inputs_, &binding.outputs_})
    if (auto status = check(nrt_allocate_tensor_set(set), "nrt_allocate_tensor_set"); !status)
      return tl::unexpected<Error>(status.error());
  for (const TensorInfo& info : model.tensors()) {
    auto tensor = Tensor::allocate(placement, core, info.bytes, info.name);
    if (!tensor) return tl::unexpected<Error>(tensor.error());
    if (auto status = check(nrt_tensor_memset(tensor->handle(), 0, 0, info.bytes), "nrt_tensor_memset"); !status)
      return tl::unexpected<Error>(status.error());
    if (auto status = check(nrt_add_tensor_to_tensor_set(info.input ? binding.inputs_ : binding.outputs_,
                                                         info.name.c_str(), tensor->handle()),
                            "adding tensor " + info.name + " to a set");
        !status)
      return tl::unexpected<Error>(status.error());
    binding.tensors_.push_back(std::move(*tensor));
  }
  return binding;
}

Binding::~Binding() {
  // The sets first: they refer to the tensors.
  if (inputs_ != nullptr) nrt_destroy_tensor_set(&inputs_);
  if (outputs_ != nullptr) nrt_destroy_tensor_set(&outputs_);
}

}  // namespace opennrt::client
