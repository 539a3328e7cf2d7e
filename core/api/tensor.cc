// SPDX-License-Identifier: Apache-2.0
//
// Tensors and tensor sets.
#include <algorithm>
#include <chrono>
#include <optional>

#include "core/api/call.h"
#include "core/isa/inf1.h"

using namespace opennrt;
using namespace opennrt::api;

namespace {

// aws-neuron-sdk neuron-runtime/guides/nrt-developer-guide.rst: a host tensor is one page of at most 4 MB.
constexpr std::size_t kMaxHostTensorBytes = std::size_t{4} << 20;
// aws-neuron-sdk src/libnrt/include/nrt/nrt.h: an unbounded wait warns after 30 s.
constexpr std::chrono::seconds kCompletionWarning{30};
// How often a wait looks whether the library is being closed.
constexpr std::chrono::milliseconds kCompletionSlice{50};

std::string text_or_empty(const char* text) {
  return text == nullptr ? "" : text;
}

Result<std::shared_ptr<Storage>> allocate(Runtime& runtime, int placement, int vnc, std::size_t size) {
  if (size == 0) return make_error(ErrorCode::kInvalidArgument, "size is 0, expected at least 1 byte");
  switch (placement) {
    case NRT_TENSOR_PLACEMENT_DEVICE: {
      const auto core = runtime.core(vnc, "vnc");
      if (!core) return tl::unexpected(core.error());
      return Storage::allocate_device(*core, vnc, size);
    }
    case NRT_TENSOR_PLACEMENT_HOST: {
      if (size > kMaxHostTensorBytes) {
        return make_error(ErrorCode::kInvalidArgument, "size is {}, expected at most {} for NRT_TENSOR_PLACEMENT_HOST",
                          size, kMaxHostTensorBytes);
      }
      const auto core = runtime.core(vnc == -1 ? 0 : vnc, "vnc");
      if (!core) return tl::unexpected(core.error());
      return Storage::allocate_host(*core, vnc, size);
    }
    case NRT_TENSOR_PLACEMENT_VIRTUAL: {
      if (vnc != -1) {
        const auto core = runtime.core(vnc, "vnc");
        if (!core) return tl::unexpected(core.error());
      }
      return Storage::allocate_virtual(vnc, size);
    }
  }
  return make_error(ErrorCode::kInvalidArgument, "tensor_placement is {}, expected {} to {}", placement,
                    static_cast<int>(NRT_TENSOR_PLACEMENT_DEVICE), static_cast<int>(NRT_TENSOR_PLACEMENT_VIRTUAL));
}

nrt_tensor_t* publish(Process& process, std::shared_ptr<Tensor> tensor) {
  if (observe::trace::on()) {
    const TensorView view = tensor->view();
    tensor->trace_subject(view, view.size);
  }
  return static_cast<nrt_tensor_t*>(process.tensors.add(std::move(tensor)));
}

enum class Direction { kRead, kWrite };

NRT_STATUS batch(const char* function, const nrt_tensor_batch_t* batches, std::uint64_t count, bool unsafe,
                 Direction direction) {
  return while_open(function, [&](Process& process, Runtime& runtime) -> Status {
    if (count == 0) return {};
    if (const Status there = require(batches, "batches"); !there) return there;
    std::vector<std::shared_ptr<Tensor>> tensors;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string where = "batch " + std::to_string(i);
      auto tensor = process.tensors.get(batches[i].tensor);
      if (!tensor) return with_context(tensor.error(), where);
      if (batches[i].num_ops > 0 && batches[i].ops == nullptr) {
        return make_error(ErrorCode::kInvalidArgument, "{}: ops is NULL, expected {} operations", where,
                          batches[i].num_ops);
      }
      for (std::uint32_t k = 0; k < batches[i].num_ops; ++k) {
        const nrt_tensor_batch_op_t& op = batches[i].ops[k];
        const Status fits =
            (*tensor)->check_access(op.offset, op.buffer, op.size, direction == Direction::kRead ? "read" : "write");
        if (!fits) return with_context(fits.error(), where + ", operation " + std::to_string(k));
      }
      tensors.push_back(std::move(*tensor));
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      if (const Status idle = unsafe ? Status{} : runtime.async().wait_unused(tensors[i]->view().storage); !idle)
        return with_context(idle.error(), "batch " + std::to_string(i));
      for (std::uint32_t k = 0; k < batches[i].num_ops; ++k) {
        const nrt_tensor_batch_op_t& op = batches[i].ops[k];
        const Status done = direction == Direction::kRead ? tensors[i]->read(op.buffer, op.offset, op.size)
                                                          : tensors[i]->write(op.buffer, op.offset, op.size);
        if (!done) return with_context(done.error(), "batch " + std::to_string(i) + ", operation " + std::to_string(k));
      }
    }
    return {};
  });
}

}  // namespace

namespace opennrt::api::native {

NRT_STATUS nrt_tensor_allocate(nrt_tensor_placement_t tensor_placement, int vnc, size_t size, const char* name,
                               nrt_tensor_t** tensor) {
  return while_open("nrt_tensor_allocate", [&](Process& process, Runtime& runtime) -> Status {
    if (const Status there = require(tensor, "tensor"); !there) return there;
    auto storage = allocate(runtime, raw(tensor_placement), vnc, size);
    if (!storage) return with_context(storage.error(), "tensor \"" + text_or_empty(name) + "\"");
    *tensor = publish(process, std::make_shared<Tensor>(text_or_empty(name), TensorView{std::move(*storage), 0, size}));
    return {};
  });
}

NRT_STATUS nrt_tensor_allocate_empty(const char* name, nrt_tensor_t** tensor) {
  return while_open("nrt_tensor_allocate_empty", [&](Process& process, Runtime&) -> Status {
    if (const Status there = require(tensor, "tensor"); !there) return there;
    *tensor = publish(process, std::make_shared<Tensor>(text_or_empty(name)));
    return {};
  });
}

NRT_STATUS nrt_tensor_allocate_slice(const nrt_tensor_t* tensor_source, size_t offset, size_t size, const char* name,
                                     nrt_tensor_t** tensor_slice) {
  return while_open("nrt_tensor_allocate_slice", [&](Process& process, Runtime&) -> Status {
    if (const Status there = require(tensor_slice, "tensor_slice"); !there) return there;
    const auto source = process.tensors.get(tensor_source);
    if (!source) return tl::unexpected(source.error());
    if (size == 0) return make_error(ErrorCode::kInvalidArgument, "size is 0, expected at least 1 byte");
    if (const Status fits = (*source)->check_access(offset, source->get(), size, "slice"); !fits) return fits;
    TensorView view = (*source)->view();
    view.offset += offset;
    view.size = size;
    *tensor_slice = publish(process, std::make_shared<Tensor>(text_or_empty(name), std::move(view)));
    return {};
  });
}

NRT_STATUS nrt_tensor_attach_buffer(nrt_tensor_t* tensor, void* buffer, size_t size) {
  return while_open("nrt_tensor_attach_buffer", [&](Process& process, Runtime&) -> Status {
    const auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status there = require(buffer, "buffer"); !there) return there;
    if (size == 0) return make_error(ErrorCode::kInvalidArgument, "size is 0, expected at least 1 byte");
    (*found)->attach(buffer, size);
    return {};
  });
}

void nrt_tensor_free(nrt_tensor_t** tensor) {
  (void)any_time("nrt_tensor_free", [&](Process& process) -> Status {
    if (tensor == nullptr || *tensor == nullptr) return {};
    const auto stay = process.stay();  // what it frees on a device, nrt_close may be freeing, too
    const std::shared_ptr<Tensor> taken = process.tensors.remove(*tensor);
    if (taken == nullptr) {
      observe::log(observe::Component::kNrt, observe::Level::kDebug, "nrt_tensor_free",
                   "{} is not a live tensor, ignored", fmt::ptr(*tensor));
    }
    *tensor = nullptr;
    return {};
  });
}

NRT_STATUS nrt_tensor_read(const nrt_tensor_t* tensor, void* buf, size_t offset, size_t size) {
  return while_open("nrt_tensor_read", [&](Process& process, Runtime& runtime) -> Status {
    const auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status idle = runtime.async().wait_unused((*found)->view().storage); !idle) return idle;
    return (*found)->read(buf, offset, size);
  });
}

NRT_STATUS nrt_tensor_write(nrt_tensor_t* tensor, const void* buf, size_t offset, size_t size) {
  return while_open("nrt_tensor_write", [&](Process& process, Runtime& runtime) -> Status {
    const auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status idle = runtime.async().wait_unused((*found)->view().storage); !idle) return idle;
    return (*found)->write(buf, offset, size);
  });
}

NRT_STATUS nrt_tensor_read_batch(const nrt_tensor_batch_t* batches, uint64_t num_batches, bool unsafe) {
  return batch("nrt_tensor_read_batch", batches, num_batches, unsafe, Direction::kRead);
}

NRT_STATUS nrt_tensor_write_batch(const nrt_tensor_batch_t* batches, uint64_t num_batches, bool unsafe) {
  return batch("nrt_tensor_write_batch", batches, num_batches, unsafe, Direction::kWrite);
}

NRT_STATUS nrt_tensor_copy(const nrt_tensor_t* src, size_t src_offset, nrt_tensor_t* dst, size_t dst_offset,
                           size_t size) {
  return while_open("nrt_tensor_copy", [&](Process& process, Runtime& runtime) -> Status {
    const auto from = process.tensors.get(src);
    if (!from) return with_context(from.error(), "src");
    const auto to = process.tensors.get(dst);
    if (!to) return with_context(to.error(), "dst");
    if (const Status idle = runtime.async().wait_unused((*from)->view().storage); !idle) return idle;
    if (const Status idle = runtime.async().wait_unused((*to)->view().storage); !idle) return idle;
    return Tensor::copy(**from, src_offset, **to, dst_offset, size);
  });
}

NRT_STATUS nrt_tensor_memset(nrt_tensor_t* tensor, uint64_t offset, int value, size_t size) {
  return while_open("nrt_tensor_memset", [&](Process& process, Runtime& runtime) -> Status {
    const auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status idle = runtime.async().wait_unused((*found)->view().storage); !idle) return idle;
    return (*found)->set(offset, value, size);
  });
}

size_t nrt_tensor_get_size(const nrt_tensor_t* tensor) {
  size_t size = 0;
  (void)any_time("nrt_tensor_get_size", [&](Process& process) -> Status {
    const auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    size = (*found)->view().size;
    return {};
  });
  return size;
}

void* nrt_tensor_get_va(const nrt_tensor_t* tensor) {
  void* address = nullptr;
  (void)any_time("nrt_tensor_get_va", [&](Process& process) -> Status {
    const auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    const TensorView view = (*found)->view();
    if (view.storage == nullptr) return {};
    const std::span<std::byte> host = view.storage->host();
    if (host.data() != nullptr) address = host.data() + view.offset;
    return {};
  });
  return address;
}

NRT_STATUS nrt_tensor_get_device_allocation_info(const nrt_tensor_t* tensor,
                                                 nrt_tensor_device_allocation_info_t* alloc_info) {
  return while_open("nrt_tensor_get_device_allocation_info", [&](Process& process, Runtime&) -> Status {
    const auto found = process.tensors.get(tensor);
    if (!found) return tl::unexpected(found.error());
    if (const Status there = require(alloc_info, "alloc_info"); !there) return there;
    const TensorView view = (*found)->view();
    const auto memory = view.storage == nullptr ? nullptr : view.storage->device_memory();
    if (memory == nullptr) {
      return make_error(ErrorCode::kInvalidArgument,
                        "tensor \"{}\" is not in device memory, expected NRT_TENSOR_PLACEMENT_DEVICE",
                        (*found)->name());
    }
    alloc_info->physical_address = memory->device_address() + view.offset;
    alloc_info->size = memory->bytes();
    alloc_info->hbm_index = memory->device_address() >= inf1::kDramChannelBase[1] ? 1 : 0;
    return {};
  });
}

NRT_STATUS nrt_tensor_check_output_completion(const nrt_tensor_t* output_tensor, int64_t timeout,
                                              uint64_t expected_completion_count) {
  constexpr const char* kFunction = "nrt_tensor_check_output_completion";
  using Clock = std::chrono::steady_clock;
  // The wait is outside of the call, in slices: nrt_close does not wait for it.
  const Clock::time_point begin = Clock::now();
  std::shared_ptr<Tensor> tensor;
  bool warned = false;
  for (;;) {
    std::optional<bool> reached;
    const NRT_STATUS status = while_open(kFunction, [&](Process& process, Runtime&) -> Status {
      if (tensor == nullptr) {
        const auto found = process.tensors.get(output_tensor);
        if (!found) return tl::unexpected(found.error());
        tensor = *found;
      }
      return {};
    });
    if (status != NRT_SUCCESS) return status;
    const NRT_STATUS waited = guarded(kFunction, [&]() -> NRT_STATUS {
      // In microseconds: the longest timeout would not fit the clock's nanoseconds.
      const auto elapsed = [&] { return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin); };
      std::chrono::microseconds slice = kCompletionSlice;
      if (timeout >= 0)
        slice = std::clamp(std::chrono::microseconds(timeout) - elapsed(), std::chrono::microseconds(0), slice);
      if (tensor->wait_completions(expected_completion_count, slice)) {
        reached = true;
      } else if (timeout >= 0 && elapsed() >= std::chrono::microseconds(timeout)) {
        reached = false;
      } else if (timeout < 0 && !warned && elapsed() >= kCompletionWarning) {
        warned = true;
        observe::log(observe::Component::kNrt, observe::Level::kWarn, kFunction,
                     "tensor \"{}\" is not complete after 30 s", tensor->name());
      }
      return NRT_SUCCESS;
    });
    if (waited != NRT_SUCCESS) return waited;
    if (reached.has_value()) return *reached ? NRT_SUCCESS : to_status(ErrorCode::kTimeout);
  }
}

NRT_STATUS nrt_tensor_reset_output_completion(nrt_tensor_t* output_tensor) {
  return while_open("nrt_tensor_reset_output_completion", [&](Process& process, Runtime&) -> Status {
    const auto found = process.tensors.get(output_tensor);
    if (!found) return tl::unexpected(found.error());
    (*found)->reset_completions();
    return {};
  });
}

NRT_STATUS nrt_allocate_tensor_set(nrt_tensor_set_t** result) {
  return while_open("nrt_allocate_tensor_set", [&](Process& process, Runtime&) -> Status {
    if (const Status there = require(result, "result"); !there) return there;
    *result = process.tensor_sets.add(std::make_shared<TensorSet>());
    return {};
  });
}

void nrt_destroy_tensor_set(nrt_tensor_set_t** tensor_set) {
  (void)any_time("nrt_destroy_tensor_set", [&](Process& process) -> Status {
    if (tensor_set == nullptr || *tensor_set == nullptr) return {};
    if (process.tensor_sets.remove(*tensor_set) == nullptr) {
      observe::log(observe::Component::kNrt, observe::Level::kDebug, "nrt_destroy_tensor_set",
                   "{} is not a live tensor set, ignored", fmt::ptr(*tensor_set));
    }
    *tensor_set = nullptr;
    return {};
  });
}

NRT_STATUS nrt_add_tensor_to_tensor_set(nrt_tensor_set_t* tensor_set, const char* tensor_name, nrt_tensor_t* tensor) {
  return while_open("nrt_add_tensor_to_tensor_set", [&](Process& process, Runtime&) -> Status {
    const auto set = process.tensor_sets.get(tensor_set);
    if (!set) return tl::unexpected(set.error());
    if (const Status there = require(tensor_name, "tensor_name"); !there) return there;
    const auto found = process.tensors.get(tensor);
    if (!found) return with_context(found.error(), std::string("tensor \"") + tensor_name + "\"");
    (*set)->put(tensor_name, tensor, *found);
    return {};
  });
}

NRT_STATUS nrt_get_tensor_from_tensor_set(nrt_tensor_set_t* tensor_set, const char* tensor_name,
                                          nrt_tensor_t** tensor) {
  return while_open("nrt_get_tensor_from_tensor_set", [&](Process& process, Runtime&) -> Status {
    const auto set = process.tensor_sets.get(tensor_set);
    if (!set) return tl::unexpected(set.error());
    if (const Status there = require(tensor_name, "tensor_name"); !there) return there;
    if (const Status there = require(tensor, "tensor"); !there) return there;
    const TensorSet::Entry entry = (*set)->find(tensor_name);
    // NRT_FAILURE is what nrt-developer-guide.rst of the SDK says for a name that is not there.
    if (entry.handle == nullptr) {
      return make_error(ErrorCode::kState, "there is no tensor \"{}\" in the set; it has {}", tensor_name,
                        (*set)->names());
    }
    if (entry.tensor.expired()) {
      return make_error(ErrorCode::kInvalidHandle,
                        "tensor \"{}\" of the set has been freed; expected one that is alive", tensor_name);
    }
    *tensor = static_cast<nrt_tensor_t*>(entry.handle);
    return {};
  });
}

}  // namespace opennrt::api::native
