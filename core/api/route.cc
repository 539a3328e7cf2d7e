// SPDX-License-Identifier: Apache-2.0
#include "core/api/route.h"

#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <string>

#include "core/api/door_faults.h"
#include "core/api/native.h"
#include "core/common/per_process.h"
#include "core/observe/calls.h"
#include "core/observe/log.h"
#include "core/runtime/config.h"
#include "core/runtime/process.h"

namespace opennrt::api {
namespace {

using observe::Component;
using observe::Level;
namespace calls = observe::calls;

/// One thread decides at a time. A child of fork(2) has a lock of its own.
struct Deciding {
  std::mutex mutex;
};
thread_local bool deciding_here = false;

std::string value_or(const Variables& variables, std::string_view name, const char* fallback = "") {
  const auto found = variables.find(name);
  return found == variables.end() || found->second.empty() ? fallback : found->second;
}

void info(const std::string& text) {
  observe::write(Component::kNrt, Level::kInfo, "nrt_infodump", text);
}

}  // namespace

Route& Route::current() {
  static Route* route = new Route;  // used at exit, too
  return *route;
}

bool Route::open() const {
  if (library() != nullptr) return open_in_.load(std::memory_order_acquire) == getpid();
  const Process::State state = Process::current().state();
  return state == Process::State::kOpen || state == Process::State::kClosing;
}

Status Route::choose(Moment moment) {
  if (deciding_here) {
    return make_error(ErrorCode::kState,
                      "called by the vendor's library while that is being loaded, expected no call before nrt_init");
  }
  const std::lock_guard lock(per_process<Deciding>().mutex);
  if (decided_.load(std::memory_order_acquire) && (moment == Moment::kFirstCall || open())) return {};
  struct Here {
    Here() { deciding_here = true; }
    ~Here() { deciding_here = false; }
  } here;
  const Variables variables = read_environment();
  const std::string backend = value_or(variables, "OPENNRT_BACKEND");
  if (backend != "vendor" && library() != nullptr) {
    return make_error(
        ErrorCode::kState,
        "OPENNRT_BACKEND is \"{}\", but this process has used the vendor's library ({}) and stays with it; "
        "expected \"vendor\", or another process",
        backend, library()->describe());
  }
  const calls::Settings settings{value_or(variables, "OPENNRT_CALL_RECORD"), value_or(variables, "OPENNRT_CALL_STATS")};
  if (const Status configured = calls::configure(settings, function_names()); !configured) return configured;
  if (backend == "vendor") {
    const auto log = observe::parse_settings([&](const char* name) -> const char* {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
    if (!log) return tl::unexpected(log.error());
    if (const Status configured = observe::configure(*log); !configured) return configured;
    if (const Status taken = take_vendor(value_or(variables, "OPENNRT_VENDOR_LIBNRT", vendor::kDefaultPath)); !taken)
      return taken;
  }
  const Status faults = DoorFaults::configure(variables, library() != nullptr);
  if (!faults) return faults;
  if (!settings.stats.empty()) {
    static std::once_flag registered;
    std::call_once(registered, [] { std::atexit(&Route::at_exit); });
  }
  lead_all(library(), library() != nullptr || calls::timed() || DoorFaults::current() != nullptr);
  decided_.store(true, std::memory_order_release);
  if (library() != nullptr && moment == Moment::kInit) announce();
  return {};
}

Status Route::take_vendor(const std::string& path) {
  if (library() != nullptr) {
    const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(path.c_str(), nullptr), &std::free);
    if (resolved != nullptr && library()->path() == resolved.get()) return {};
    return make_error(
        ErrorCode::kState,
        "OPENNRT_VENDOR_LIBNRT is \"{}\", but this process has used {} and stays with it; expected the same "
        "library, or another process",
        path, library()->path());
  }
  if (Process::current().state() != Process::State::kUninitialized ||
      native::objects_given_out.load(std::memory_order_relaxed)) {
    return make_error(
        ErrorCode::kState,
        "OPENNRT_BACKEND is \"vendor\", but this process has used OpenNRT's own runtime, whose handles mean nothing "
        "to the vendor's; expected what it was at the first call, or another process");
  }
  auto opened = vendor::Library::open(path, function_names());
  if (!opened) return tl::unexpected(opened.error());
  held_ = std::move(*opened);
  library_.store(held_.get(), std::memory_order_release);
  return {};
}

void Route::announce() const {
  if (!observe::enabled(Component::kNrt, Level::kInfo)) return;
  std::string missing;
  std::size_t lacking = 0;
  for (const char* name : function_names()) {
    if (library()->symbol(name) != nullptr) continue;
    missing += fmt::format("{}{}", missing.empty() ? "" : ", ", name);
    ++lacking;
  }
  observe::log(Component::kNrt, Level::kInfo, "nrt_init", "OPENNRT_BACKEND is vendor: every call is forwarded to {}",
               library()->describe());
  info("Neuron runtime information - please include in any support request:");
  info("------------->8------------[ cut here ]------------>8-------------");
  info(fmt::format("NRT version: OpenNRT {} ({})", OPENNRT_VERSION, OPENNRT_GIT_HASH));
  info(fmt::format("Backend: vendor - {}", library()->describe()));
  info(fmt::format("Its version: {} ({})", library()->version().rt_detail, library()->version().git_hash));
  info(fmt::format("Functions: {} of {}, {} references of it bound to itself", function_names().size() - lacking,
                   function_names().size(), library()->rebound()));
  if (lacking > 0) info(fmt::format("Functions that it lacks: {}", missing));
  info("Environment:");
  for (const auto& [name, value] : read_environment()) info(fmt::format("  {}={}", name, value));
  info("-------------8<-----------[ cut to here ]-----------8<------------");
}

void Route::opened(bool success) {
  if (success && library() != nullptr) open_in_.store(getpid(), std::memory_order_release);
}

void Route::closed() {
  if (library() == nullptr || open_in_.exchange(0, std::memory_order_acq_rel) == 0) return;
  const calls::Count sum = calls::total();
  observe::log(Component::kNrt, Level::kInfo, "nrt_close", "{} calls have been forwarded, {} of them failed", sum.calls,
               sum.failures);
}

void Route::write_stats() {
  const Status written = calls::write_stats(library() == nullptr ? "own" : library()->describe());
  if (!written) observe::log(Component::kNrt, Level::kError, "nrt_close", "{}", written.error().message);
}

void Route::at_exit() {
  current().write_stats();
}

}  // namespace opennrt::api
