// SPDX-License-Identifier: Apache-2.0
//
// An inference: bind, start, wait, finish.
#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include "core/umd/driver_call.h"
#include "core/umd/program.h"

namespace opennrt::umd {
namespace {

bool outputs_are_there(Outcome outcome) {
  return outcome == Outcome::kCompleted || outcome == Outcome::kCompletedWithNumericalError ||
         outcome == Outcome::kCompletedWithError;
}

}  // namespace

std::string LoadedProgram::queue_name(std::uint32_t engine, std::uint32_t queue) const {
  for (const QueuePlan& feed : feeds_)
    if (feed.engine == engine && feed.queue == queue) return feed.name;
  for (const QueuePlan& plan : queues_)
    if (plan.engine == engine && plan.queue == queue) return fmt::format("queue set '{}'", plan.name);
  return "not a queue of this program";
}

Result<std::vector<const Binding*>> LoadedProgram::match(std::span<const Binding> inputs,
                                                         std::span<const Binding> outputs) const {
  std::vector<const Binding*> matched(tensors_.size(), nullptr);
  for (bool output : {false, true}) {
    for (const Binding& binding : output ? outputs : inputs) {
      const char* kind = output ? "output" : "input";
      std::size_t i = 0;
      while (i < tensors_.size() && (tensors_[i].output != output || tensors_[i].name != binding.name)) ++i;
      if (i == tensors_.size())
        return make_error(ErrorCode::kInvalidArgument, "{} '{}' is bound, but the program has none of that name", kind,
                          binding.name);
      if (matched[i] != nullptr)
        return make_error(ErrorCode::kInvalidArgument, "{} '{}' is bound twice", kind, binding.name);
      std::uint64_t needed = tensors_[i].bytes, there = binding.host.size();
      if (binding.memory) {
        if (&binding.memory->device() != device_.get())
          return make_error(ErrorCode::kInvalidArgument,
                            "{} '{}' is bound to memory of Neuron Device {}, expected memory of Neuron Device {}", kind,
                            binding.name, binding.memory->device().number(), device_->number());
        there = binding.memory_offset <= binding.memory->bytes() ? binding.memory->bytes() - binding.memory_offset : 0;
      }
      if (there < needed)
        return make_error(ErrorCode::kInvalidArgument, "{} '{}' is bound to {} bytes, expected at least {}", kind,
                          binding.name, there, needed);
      matched[i] = &binding;
    }
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i)
    if (matched[i] == nullptr)
      return make_error(ErrorCode::kInvalidArgument, "{} '{}' is not bound", tensors_[i].output ? "output" : "input",
                        tensors_[i].name);
  return matched;
}

Result<std::unique_ptr<Slot>> LoadedProgram::take_slot() {
  {
    std::lock_guard lock(slots_mutex_);
    if (!free_slots_.empty()) {
      auto slot = std::move(free_slots_.back());
      free_slots_.pop_back();
      return slot;
    }
  }
  return make_slot();
}

void LoadedProgram::give_slot(std::unique_ptr<Slot> slot) {
  std::lock_guard lock(slots_mutex_);
  free_slots_.push_back(std::move(slot));
}

/// Puts the addresses of this inference's tensors into the slot's rings. Buffers of the process are staged: an address that
/// the device can reach stands for them, and stays the same from one inference to the next.
Status LoadedProgram::bind(Slot& slot, const std::vector<const Binding*>& bindings) {
  std::vector<bool> changed(tensors_.size(), false);
  bool any = false;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const Binding& binding = *bindings[i];
    std::uint64_t address = 0;
    if (binding.memory) {
      address = binding.memory->device_address() + binding.memory_offset;
    } else {
      if (!slot.staging[i]) {
        auto memory = device_->allocate_host(tensors_[i].bytes, core_, OPENNRT_MEM_TENSORS_HOST);
        if (!memory) {
          slot.bound.assign(slot.bound.size(), Slot::kUnbound);  // the rings do not have what is bound so far
          return with_context(memory.error(), fmt::format("tensor '{}'", tensors_[i].name));
        }
        slot.staging[i] = std::move(*memory);
      }
      if (!tensors_[i].output) std::memcpy(slot.staging[i]->host(), binding.host.data(), tensors_[i].bytes);
      address = slot.staging[i]->device_address();
    }
    changed[i] = slot.bound[i] != address;
    any = any || changed[i];
    slot.bound[i] = address;
  }
  if (!any) return {};
  for (std::size_t r = 0; r < slot.rings.size(); ++r) {
    RingImage& image = slot.images[r];
    // Per side: the descriptors from the first to the last that changed are written anew.
    std::array<std::uint32_t, 2> first{std::numeric_limits<std::uint32_t>::max(),
                                       std::numeric_limits<std::uint32_t>::max()},
        last{0, 0};
    for (const RingImage::Patch& patch : image.patches()) {
      if (!changed[patch.tensor]) continue;
      image.set_address(patch, slot.bound[patch.tensor]);
      first[patch.receive] = std::min(first[patch.receive], patch.descriptor);
      last[patch.receive] = std::max(last[patch.receive], patch.descriptor);
    }
    Ring& ring = slot.rings[r];
    if (!ring.written) first = {0, 0}, last = {image.count() - 1, image.count() - 1};
    for (std::size_t side = 0; side < 2; ++side) {
      if (first[side] > last[side]) continue;
      bool receive = side == 1;
      std::uint64_t offset = std::uint64_t{first[side]} * inf1::kDescriptorBytes;
      auto bytes = (receive ? image.receive() : image.transmit()).subspan(offset);
      int result =
          call(device_->api().dma_write_descriptors, device_->handle(),
               (receive ? ring.receive : ring.transmit)->handle(), offset, static_cast<const void*>(bytes.data()),
               last[side] - first[side] + 1, receive ? OPENNRT_QUEUE_RX : OPENNRT_QUEUE_TX);
      if (result != 0) {
        slot.bound.assign(slot.bound.size(), Slot::kUnbound);  // what the rings hold is not known any more
        ring.written = false;
        return driver_error(result, "dma_write_descriptors", device_->number());
      }
    }
    ring.written = true;
  }
  return {};
}

Result<ExecutionReport> LoadedProgram::run(Slot& slot, const std::vector<const Binding*>& bindings, const Run& how) {
  FifoSemaphore::Hold turn(context_.order);
  ExecutionReport report;
  if (const std::string& why = context_.unrecoverable(); !why.empty()) {
    report.outcome = Outcome::kUnrecoverable;
    report.message = why;
    return report;
  }
  const auto& api = device_->api();
  context_.drop_notifications();
  int result = call(api.dma_queue_init, device_->handle(), static_cast<const opennrt_queue_init_t*>(slot.inits.data()),
                    static_cast<std::uint32_t>(slot.inits.size()));
  if (result != 0) return driver_error(result, "dma_queue_init", device_->number());
  InferenceWatch watch(context_, *device_, how.id);
  std::uint64_t start = 0;  // where there is no clock
  if (result = call(api.clock, device_->handle(), &start); result != 0 && result != -ENOTSUP)
    return driver_error(result, "clock", device_->number());
  const std::uint64_t left = how.timeout_ns - std::min(how.spent_ns, how.timeout_ns);
  const std::uint64_t deadline = left > UINT64_MAX - start ? UINT64_MAX : start + left;
  for (const QueuePlan& feed : feeds_) {
    result =
        call(api.dma_queue_start, device_->handle(), feed.engine, feed.queue, feed.image.count(), feed.image.count());
    if (result != 0) {
      (void)context_.recover();  // an engine may have begun; a failure is kept in unrecoverable()
      return driver_error(result, "dma_queue_start", device_->number());
    }
  }
  auto ending =
      context_.wait_for_end(end_value_, how.timeout_ns, deadline,
                            [this](std::uint32_t engine, std::uint32_t queue) { return queue_name(engine, queue); });
  if (!ending) {
    (void)context_.recover();
    return tl::unexpected(ending.error());
  }
  report.outcome = ending->outcome;
  report.message = std::move(ending->message);
  // A backend that rings doorbells later than it is told to says when it did.
  std::uint64_t began = start;
  if (call(api.work_started, device_->handle(), core_, &began) != 0 || began < start) began = start;
  // Silicon's notifications have the time of a clock that no request of its driver reads, and clock() is the host's: the
  // inference has then ended when that was seen, and by as much every notification is moved.
  std::int64_t shift = 0;
  if (!device_->info().virtual_time && ending->last_end_ns != 0) {
    const std::uint64_t now = device_->clock_ns();
    if (ending->last_end_ns < began || ending->last_end_ns > now) {
      shift = static_cast<std::int64_t>(now - ending->last_end_ns);
      ending->last_end_ns = now;
    }
  }
  report.device_ns = ending->last_end_ns > began ? ending->last_end_ns - began : 0;
  // A hang lasts to its deadline, also where the device's clock need not go there because nothing can happen before.
  if (report.outcome == Outcome::kTimeout && left < std::uint64_t{INT64_MAX}) report.device_ns = left;
  watch.finish(report, began, shift, [this] { return text(); });
  if (ending->needs_recovery) {
    if (auto status = context_.recover(); !status) report.message += "; " + status.error().message;
    return report;
  }
  // A program must leave its semaphores at 0 (core/neff/README.md). Reading them costs 32 register reads, so only the first
  // inference pays, and one that was found wanting pays always: the next program on the core must find them 0.
  if (!first_done_ || leaves_semaphores_) {
    auto found = context_.clear_semaphores();
    if (!found) {
      (void)context_.recover();  // the next program must find them 0, and nobody knows what they are
      return tl::unexpected(found.error());
    }
    first_done_ = true;
    leaves_semaphores_ = leaves_semaphores_ || !found->empty();
    if (!found->empty()) {
      if (report.outcome == Outcome::kCompleted) report.outcome = Outcome::kCompletedWithError;
      report.message += fmt::format("{}{} at the end of the inference on Neuron Device {} NC {}, expected 0",
                                    report.message.empty() ? "" : "; ", *found, device_->number(), core_);
    }
  }
  if (how.completed && outputs_are_there(report.outcome)) {
    running_slot_ = &slot;
    running_bindings_ = &bindings;
    how.completed();
    running_slot_ = nullptr;
    running_bindings_ = nullptr;
  }
  return report;
}

Status LoadedProgram::read_variable(std::string_view name, std::span<std::byte> to) {
  const auto found = readable_.find(name);
  if (found == readable_.end() || running_slot_ == nullptr)
    return make_error(ErrorCode::kInvalidArgument, "'{}' is not a debug variable of an inference that has completed",
                      name);
  const Readable& readable = found->second;
  if (to.size() > readable.bytes)
    return make_error(ErrorCode::kInvalidArgument, "{} bytes of variable '{}' are asked for, expected at most {}",
                      to.size(), name, readable.bytes);
  if (!readable.tensor) return scratchpad_->read(readable.offset, to);
  const Binding& binding = *(*running_bindings_)[*readable.tensor];
  if (binding.memory) return binding.memory->read(binding.memory_offset, to);
  std::memcpy(to.data(), running_slot_->staging[*readable.tensor]->host(), to.size());
  return {};
}

Result<ExecutionReport> LoadedProgram::execute(std::span<const Binding> inputs, std::span<const Binding> outputs,
                                               const Run& how) {
  try {
    auto bindings = match(inputs, outputs);
    if (!bindings) return tl::unexpected(bindings.error());
    FifoSemaphore::Hold place(slots_);
    auto slot = take_slot();
    if (!slot) return tl::unexpected(slot.error());
    auto report = [&]() -> Result<ExecutionReport> {
      if (auto status = bind(**slot, *bindings); !status) return tl::unexpected(status.error());
      return run(**slot, *bindings, how);
    }();
    if (report && outputs_are_there(report->outcome))
      for (std::size_t i = 0; i < tensors_.size(); ++i)
        if (tensors_[i].output && !(*bindings)[i]->memory)
          std::memcpy((*bindings)[i]->host.data(), (*slot)->staging[i]->host(), tensors_[i].bytes);
    give_slot(std::move(*slot));
    return report;
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kResource, "no memory to start an inference on Neuron Device {} NC {}",
                      device_->number(), core_);
  }
}

}  // namespace opennrt::umd
