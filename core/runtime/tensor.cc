// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/tensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/observe/trace.h"

namespace opennrt {
namespace {

std::string display(const std::string& name) {
  return name.empty() ? "(unnamed)" : "\"" + name + "\"";
}

}  // namespace

Result<std::shared_ptr<Storage>> Storage::allocate_device(const Core& core, int vnc, std::uint64_t bytes) {
  auto memory = core.device->allocate_device(bytes, core.device_core, OPENNRT_MEM_TENSORS_DEVICE);
  if (!memory) return tl::unexpected(memory.error());
  std::shared_ptr<Storage> storage(new Storage(Kind::kDevice, vnc, bytes));
  storage->memory_ = std::move(*memory);
  return storage;
}

Result<std::shared_ptr<Storage>> Storage::allocate_host(const Core& core, int vnc, std::uint64_t bytes) {
  auto memory = core.device->allocate_host(bytes, core.device_core, OPENNRT_MEM_TENSORS_HOST);
  if (!memory) return tl::unexpected(memory.error());
  std::memset((*memory)->host(), 0, bytes);
  std::shared_ptr<Storage> storage(new Storage(Kind::kHost, vnc, bytes));
  storage->memory_ = std::move(*memory);
  return storage;
}

Result<std::shared_ptr<Storage>> Storage::allocate_virtual(int vnc, std::uint64_t bytes) {
  auto* memory = static_cast<std::byte*>(std::calloc(bytes, 1));
  if (memory == nullptr) return make_error(ErrorCode::kResource, "{} bytes of host memory are not available", bytes);
  std::shared_ptr<Storage> storage(new Storage(Kind::kVirtual, vnc, bytes));
  storage->host_ = memory;
  return storage;
}

std::shared_ptr<Storage> Storage::attach(void* buffer, std::uint64_t bytes) {
  std::shared_ptr<Storage> storage(new Storage(Kind::kAttached, -1, bytes));
  storage->host_ = static_cast<std::byte*>(buffer);
  return storage;
}

Storage::~Storage() {
  if (kind_ == Kind::kVirtual) std::free(host_);
}

std::shared_ptr<umd::Memory> Storage::device_memory() const {
  if (kind_ != Kind::kDevice) return nullptr;
  const std::lock_guard lock(mutex_);
  return memory_;
}

std::span<std::byte> Storage::host() const {
  switch (kind_) {
    case Kind::kDevice:
      return {};
    case Kind::kVirtual:
    case Kind::kAttached:
      return {host_, bytes_};
    case Kind::kHost:
      break;
  }
  const std::lock_guard lock(mutex_);
  return memory_ == nullptr ? std::span<std::byte>{} : std::span<std::byte>{memory_->host(), bytes_};
}

void Storage::release() {
  std::shared_ptr<umd::Memory> gone;
  const std::lock_guard lock(mutex_);
  gone.swap(memory_);
}

TensorView Tensor::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

void Tensor::attach(void* buffer, std::uint64_t bytes) {
  TensorView next{Storage::attach(buffer, bytes), 0, bytes};
  const std::lock_guard lock(mutex_);
  std::swap(view_, next);
}

void Tensor::trace_subject(const TensorView& view, std::uint64_t bytes) const {
  observe::trace::note({observe::trace::Subject::Kind::kTensor, view.storage == nullptr ? -1 : view.storage->vnc(),
                        name_, reinterpret_cast<std::uintptr_t>(this), bytes});
}

Result<TensorView> Tensor::checked(std::uint64_t offset, const void* buffer, std::uint64_t size,
                                   const char* what) const {
  TensorView now = view();
  if (observe::trace::on()) trace_subject(now, size);
  if (now.storage == nullptr) {
    return make_error(ErrorCode::kInvalidArgument, "{} of tensor {}: it is empty, expected one with storage", what,
                      display(name_));
  }
  if (offset > now.size || size > now.size - offset) {
    return make_error(ErrorCode::kInvalidArgument,
                      "{} of tensor {}: offset {} and size {} do not fit, expected to end within its {} bytes", what,
                      display(name_), offset, size, now.size);
  }
  if (buffer == nullptr && size > 0) {
    return make_error(ErrorCode::kInvalidArgument, "{} of tensor {}: buffer is NULL, expected {} bytes", what,
                      display(name_), size);
  }
  if (now.storage->device_memory() == nullptr && now.storage->host().data() == nullptr) {
    return make_error(ErrorCode::kInvalidArgument,
                      "{} of tensor {}: its storage on the device went with nrt_close; expected a tensor "
                      "allocated since",
                      what, display(name_));
  }
  now.offset += offset;
  return now;
}

Status Tensor::check_access(std::uint64_t offset, const void* buffer, std::uint64_t size, const char* what) const {
  const auto view = checked(offset, buffer, size, what);
  if (!view) return tl::unexpected(view.error());
  return {};
}

Status Tensor::read(void* buffer, std::uint64_t offset, std::uint64_t size) const {
  const auto view = checked(offset, buffer, size, "read");
  if (!view) return tl::unexpected(view.error());
  if (size == 0) return {};
  if (const auto memory = view->storage->device_memory()) {
    return memory->read(view->offset, std::span(static_cast<std::byte*>(buffer), size));
  }
  std::memmove(buffer, view->storage->host().data() + view->offset, size);
  return {};
}

Status Tensor::write(const void* buffer, std::uint64_t offset, std::uint64_t size) {
  const auto view = checked(offset, buffer, size, "write");
  if (!view) return tl::unexpected(view.error());
  if (size == 0) return {};
  if (const auto memory = view->storage->device_memory()) {
    return memory->write(view->offset, std::span(static_cast<const std::byte*>(buffer), size));
  }
  std::memmove(view->storage->host().data() + view->offset, buffer, size);
  return {};
}

Status Tensor::set(std::uint64_t offset, int value, std::uint64_t size) {
  const auto view = checked(offset, this, size, "memset");
  if (!view) return tl::unexpected(view.error());
  if (size == 0) return {};
  if (const auto memory = view->storage->device_memory()) return memory->set(view->offset, value, size);
  std::memset(view->storage->host().data() + view->offset, value, size);
  return {};
}

Result<std::pair<TensorView, TensorView>> Tensor::checked_copy(const Tensor& from, std::uint64_t from_offset,
                                                               const Tensor& to, std::uint64_t to_offset,
                                                               std::uint64_t size) {
  const auto source = from.checked(from_offset, &from, size, "copy");
  if (!source) return tl::unexpected(source.error());
  const auto target = to.checked(to_offset, &to, size, "copy");
  if (!target) return tl::unexpected(target.error());
  const auto source_memory = source->storage->device_memory();
  const auto target_memory = target->storage->device_memory();
  if (source_memory != nullptr && target_memory != nullptr && source->storage->vnc() != target->storage->vnc()) {
    return make_error(ErrorCode::kInvalidArgument,
                      "copy of tensor {} on nc{} to tensor {} on nc{}: expected both on the same NeuronCore",
                      display(from.name_), source->storage->vnc(), display(to.name_), target->storage->vnc());
  }
  if (source_memory != nullptr && source_memory == target_memory && size > 0 &&
      source->offset < target->offset + size && target->offset < source->offset + size) {
    return make_error(ErrorCode::kInvalidArgument,
                      "copy within device memory from {} to {}, {} bytes: the ranges overlap, expected "
                      "separate ones",
                      source->offset, target->offset, size);
  }
  return std::pair(*source, *target);
}

Status Tensor::check_copy(const Tensor& from, std::uint64_t from_offset, const Tensor& to, std::uint64_t to_offset,
                          std::uint64_t size) {
  const auto views = checked_copy(from, from_offset, to, to_offset, size);
  if (!views) return tl::unexpected(views.error());
  return {};
}

Status Tensor::copy(const Tensor& from, std::uint64_t from_offset, Tensor& to, std::uint64_t to_offset,
                    std::uint64_t size) {
  const auto views = checked_copy(from, from_offset, to, to_offset, size);
  if (!views) return tl::unexpected(views.error());
  if (size == 0) return {};
  const auto& [source, target] = *views;
  const auto source_memory = source.storage->device_memory();
  const auto target_memory = target.storage->device_memory();
  if (source_memory != nullptr && target_memory != nullptr) {
    return target_memory->device().copy(*source_memory, source.offset, *target_memory, target.offset, size);
  }
  if (source_memory != nullptr)
    return source_memory->read(source.offset, target.storage->host().subspan(target.offset, size));
  if (target_memory != nullptr)
    return target_memory->write(target.offset, source.storage->host().subspan(source.offset, size));
  std::memmove(target.storage->host().data() + target.offset, source.storage->host().data() + source.offset, size);
  return {};
}

void Tensor::complete() {
  const std::lock_guard lock(mutex_);
  ++completions_;
  completed_.notify_all();
}

void Tensor::reset_completions() {
  const std::lock_guard lock(mutex_);
  completions_ = 0;
}

bool Tensor::wait_completions(std::uint64_t expected, std::chrono::microseconds limit) const {
  std::unique_lock lock(mutex_);
  return completed_.wait_for(lock, limit, [&] { return completions_ >= expected; });
}

void TensorSet::put(std::string name, void* handle, const std::shared_ptr<Tensor>& tensor) {
  const std::lock_guard lock(mutex_);
  entries_.insert_or_assign(std::move(name), Entry{handle, tensor});
}

TensorSet::Entry TensorSet::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  return found == entries_.end() ? Entry{} : found->second;
}

std::string TensorSet::names() const {
  std::vector<std::string> sorted;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : entries_) sorted.push_back(name);
  }
  std::sort(sorted.begin(), sorted.end());
  std::string text;
  for (const std::string& name : sorted) text += (text.empty() ? "\"" : ", \"") + name + "\"";
  return text.empty() ? "nothing" : text;
}

}  // namespace opennrt
