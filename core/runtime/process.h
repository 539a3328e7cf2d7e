// SPDX-License-Identifier: Apache-2.0
//
// The state of the library in this process: whether it is open, who is inside, and the handles it has given out.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_set>

#include "core/common/error.h"
#include "core/runtime/collective.h"
#include "core/runtime/execution_unit.h"
#include "core/runtime/handles.h"
#include "core/runtime/model.h"
#include "core/runtime/runtime.h"
#include "core/runtime/tensor.h"

namespace opennrt {

/// One per process: a child of fork(2) gets a fresh one, and never touches locks, threads or devices of its parent.
/// Lives as
/// long as the process. Thread-safe.
class Process {
 public:
  enum class State { kUninitialized, kOpen, kClosing, kClosed };

  static Process& current();

  State state() const { return state_.load(std::memory_order_acquire); }

  /// nrt_init. Already open: success, `*again` is true and nothing changes.
  Status open(bool mxnet, bool* again);
  /// nrt_close: waits for calls that are inside. Does nothing when not open.
  void close();

  /// The machine for questions that are allowed at any time: the runtime's, or one opened for the question only.
  /// `ask` gets the machine and, when open, the runtime (else nullptr).
  template <typename Ask>
  auto with_machine(Machine::Detail detail, Ask&& ask)
      -> decltype(ask(std::declval<const Machine&>(), static_cast<const Runtime*>(nullptr))) {
    {
      const std::shared_lock inside(gate_);
      if (runtime_ != nullptr) return ask(runtime_->machine(), static_cast<const Runtime*>(runtime_.get()));
    }
    const std::unique_lock alone(gate_);
    if (runtime_ != nullptr) return ask(runtime_->machine(), static_cast<const Runtime*>(runtime_.get()));
    const Result<std::unique_ptr<Machine>> machine = open_machine(detail);
    if (!machine) return tl::unexpected(machine.error());
    return ask(**machine, static_cast<const Runtime*>(nullptr));
  }

  /// A call that needs the runtime: from construction to destruction nrt_close waits for it.
  class Call {
   public:
    explicit Call(Process& process);
    /// nullptr: not open; error() says why.
    Runtime* runtime() const { return runtime_; }
    State refused() const { return refused_; }

   private:
    std::shared_lock<std::shared_mutex> inside_;
    Runtime* runtime_ = nullptr;
    State refused_ = State::kUninitialized;
  };

  /// For calls that may come at any time but touch what nrt_close touches (freeing tensors).
  std::shared_lock<std::shared_mutex> stay() { return std::shared_lock(gate_); }

  HandleTable<Model> models{HandleKind::kModel, "model"};
  HandleTable<Tensor> tensors{HandleKind::kTensor, "tensor"};
  HandleTable<TensorSet> tensor_sets{HandleKind::kTensorSet, "tensor set"};
  HandleTable<ErrorTracker> error_trackers{HandleKind::kErrorTracker, "error tracker"};
  HandleTable<Collective> collectives{HandleKind::kCollective, "collective context"};
  HandleTable<collectives::Channel> channels{HandleKind::kSendRecvComm, "communicator"};
  HandleTable<collectives::Transfer> transfers{HandleKind::kSendRecvRequest, "request"};

  /// Blocks of nrt_get_model_tensor_info.
  void remember_info(void* block);
  bool forget_info(void* block);  ///< whether it was one

 private:
  Process();
  static Result<std::unique_ptr<Machine>> open_machine(Machine::Detail detail);
  void close_inside();  ///< with the gate held alone
  /// Tells the fault report what the client has not freed, if there is one (OPENNRT_FAULTS_REPORT).
  void report_alive() const;
  static void at_exit();

  const int pid_;
  std::atomic<State> state_{State::kUninitialized};
  std::shared_mutex gate_;  ///< calls share it; open and close have it alone
  std::unique_ptr<Runtime> runtime_;
  std::mutex info_mutex_;
  std::unordered_set<void*> infos_;
};

}  // namespace opennrt
