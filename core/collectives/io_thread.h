// SPDX-License-Identifier: Apache-2.0
//
// The thread that serves the sockets of collectives.
#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <memory>
#include <thread>

#include "core/common/error.h"

namespace opennrt::collectives {

/// Runs the handlers of its context until destroyed. Blocks all signals, so that those of the application find the application's
/// threads. Objects with sockets of the context are destroyed before it.
class IoThread {
 public:
  /// kResource: no descriptor or thread is left.
  static Result<std::unique_ptr<IoThread>> start();
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  asio::io_context& context() { return context_; }
  /// Ends the thread; handlers that have not run never will.
  void stop();

 private:
  IoThread();
  void run();
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

}  // namespace opennrt::collectives
