// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/io_thread.h"

#include <pthread.h>
#include <signal.h>

#include <exception>
#include <system_error>

#include "core/observe/log.h"

namespace opennrt::collectives {

IoThread::IoThread() : work_(context_.get_executor()) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Result<std::unique_ptr<IoThread>> IoThread::start() {
  try {
    return std::unique_ptr<IoThread>(new IoThread);
  } catch (const std::system_error& failed) {
    return make_error(ErrorCode::kResource, "the thread for collectives cannot be started: {}", failed.what());
  }
}

IoThread::~IoThread() {
  stop();
}

void IoThread::stop() {
  work_.reset();
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

void IoThread::run() {
  pthread_setname_np(pthread_self(), "nrt-ranks");
  for (;;) {
    try {
      context_.run();
      return;
    } catch (const std::exception& unexpected) {  // memory, for one handler; the others go on
      observe::log(observe::Component::kNrt, observe::Level::kError, "collectives", "internal error: {}",
                   unexpected.what());
    }
  }
}

}  // namespace opennrt::collectives
