// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/process.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/faults/report.h"
#include "core/observe/inspect.h"
#include "core/observe/log.h"

namespace opennrt {
namespace {

using observe::Component;
using observe::Level;

std::atomic<Process*> process_of_pid{nullptr};
// How long exit(3) waits for calls of other threads before it leaves the cores to the kernel.
constexpr auto kExitPatience = std::chrono::seconds(2);

Result<Configuration> read_configuration(bool mxnet) {
  Result<Configuration> configuration = Configuration::parse(read_environment(), mxnet);
  if (!configuration) return configuration;
  if (const Status opened = observe::configure(configuration->log); !opened) return tl::unexpected(opened.error());
  for (const Remark& remark : configuration->remarks)
    observe::log(Component::kNrt, remark.level, "nrt_config", "{}", remark.text);
  return configuration;
}

}  // namespace

Process::Process() : pid_(getpid()) {}

Process& Process::current() {
  Process* process = process_of_pid.load(std::memory_order_acquire);
  const int pid = getpid();
  while (process == nullptr || process->pid_ != pid) {
    // The parent's object stays as it is, never freed: its locks may have been held at the moment of the fork.
    Process* fresh = new Process;
    if (process_of_pid.compare_exchange_strong(process, fresh, std::memory_order_acq_rel)) return *fresh;
    delete fresh;
  }
  return *process;
}

Result<std::unique_ptr<Machine>> Process::open_machine(Machine::Detail detail) {
  Result<Configuration> configuration = read_configuration(false);
  if (!configuration) return tl::unexpected(configuration.error());
  return Machine::open(std::move(*configuration), detail);
}

Status Process::open(bool mxnet, bool* again) {
  *again = false;
  for (;;) {
    const std::unique_lock alone(gate_);
    const State now = state_.load(std::memory_order_acquire);
    if (now == State::kClosing) {  // the closer waits for this lock; let it through
      std::this_thread::yield();
      continue;
    }
    if (now == State::kOpen) {
      *again = true;
      return {};
    }
    Result<Configuration> configuration = read_configuration(mxnet);
    if (!configuration) return tl::unexpected(configuration.error());
    auto runtime = Runtime::open(std::move(*configuration));
    if (!runtime) return tl::unexpected(runtime.error());
    runtime_ = std::move(*runtime);
    state_.store(State::kOpen, std::memory_order_release);
    if (const auto& inspect = runtime_->machine().configuration().inspect; inspect.enable) {
      if (const Status begun = observe::inspect::begin(inspect.options, true); !begun)
        observe::log(Component::kNrt, Level::kWarn, "nrt_init", "NEURON_RT_INSPECT_ENABLE: {}", begun.error().message);
    }
    // Registered after the backend has been loaded, and so run before that one's static objects are destroyed.
    static std::once_flag registered;
    std::call_once(registered, [] { std::atexit(&Process::at_exit); });
    return {};
  }
}

void Process::close() {
  State expected = State::kOpen;
  if (ExecutionUnits::on_worker()) {
    observe::log(Component::kNrt, Level::kError, "nrt_close",
                 "called from a callback of the library, which it would have to wait for; nothing is closed");
    return;
  }
  if (!state_.compare_exchange_strong(expected, State::kClosing, std::memory_order_acq_rel)) return;
  runtime_->communicator().interrupt();  // nobody waits for other ranks any more
  // Before the gate is shut: a callback that is running may call in. Nobody but who won above touches runtime_ now.
  runtime_->units().close();
  const std::unique_lock alone(gate_);
  report_alive();
  close_inside();
}

void Process::report_alive() const {
  const char* path = runtime_->machine().configuration().get("OPENNRT_FAULTS_REPORT");
  if (path == nullptr || *path == '\0') return;
  if (const auto report = faults::Report::open(path))
    (*report)->closed({models.all().size(), tensors.all().size(), tensor_sets.all().size()});
  else
    observe::log(Component::kNrt, Level::kError, "nrt_close", "{}", report.error().message);
}

void Process::close_inside() {
  for (const std::shared_ptr<Model>& model : models.take_all()) runtime_->unload(*model);
  for (const std::shared_ptr<Tensor>& tensor : tensors.all()) {
    if (const TensorView view = tensor->view(); view.storage != nullptr) view.storage->release();
  }
  collectives.take_all();
  channels.take_all();
  transfers.take_all();
  if (const Status written = observe::inspect::end_with_runtime(); !written)
    observe::log(Component::kNrt, Level::kError, "nrt_close", "{}", written.error().message);
  runtime_.reset();
  state_.store(State::kClosed, std::memory_order_release);
}

void Process::at_exit() {
  Process* process = process_of_pid.load(std::memory_order_acquire);
  if (process == nullptr || process->pid_ != getpid() || ExecutionUnits::on_worker()) return;
  State expected = State::kOpen;
  if (!process->state_.compare_exchange_strong(expected, State::kClosing, std::memory_order_acq_rel)) return;
  const auto deadline = std::chrono::steady_clock::now() + kExitPatience;
  process->runtime_->communicator().interrupt();
  if (!process->runtime_->units().close_until(deadline)) return;
  std::unique_lock alone(process->gate_, std::defer_lock);
  while (!alone.try_lock()) {
    if (std::chrono::steady_clock::now() >= deadline) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  process->close_inside();
}

Process::Call::Call(Process& process) {
  refused_ = process.state();
  if (refused_ != State::kOpen) return;
  inside_ = std::shared_lock(process.gate_);
  refused_ = process.state();
  // While nrt_close waits for those inside, nobody new is let in: it could wait for ever.
  if (refused_ == State::kOpen) {
    runtime_ = process.runtime_.get();
  } else {
    inside_.unlock();
  }
}

void Process::remember_info(void* block) {
  const std::lock_guard lock(info_mutex_);
  infos_.insert(block);
}

bool Process::forget_info(void* block) {
  const std::lock_guard lock(info_mutex_);
  return infos_.erase(block) == 1;
}

}  // namespace opennrt
