// SPDX-License-Identifier: Apache-2.0
#include "simulator/chip/system.h"

#include <exception>

// libsystemc.so brings a main() that wants this. Ours is a library: the kernel is driven by the simulation thread,
// and main() is the application's.
__attribute__((visibility("default"))) int sc_main(int, char**) {
  return 0;
}

namespace opennrt::sim {
namespace {

using sc_core::sc_report;
using sc_core::sc_report_handler;

System* g_system = nullptr;  // never freed: the kernel keeps pointers into it until the process ends

/// Nothing is printed and nothing ends the process: notes of the kernel go to the log, errors come back as exceptions
/// that guarded() turns into values.
void on_report(const sc_report& report, const sc_core::sc_actions&) {
  if (report.get_severity() >= sc_core::SC_ERROR) throw report;
  if (g_system != nullptr) {
    g_system->context().log(LogLevel::kDebug, fmt::format("systemc: {}: {}", report.get_msg_type(), report.get_msg()));
  }
}

template <typename Function>
Status guarded(const char* what, Function&& function) {
  try {
    function();
    return {};
  } catch (const std::exception& error) {
    return make_error(ErrorCode::kInternal, "simulator kernel: {}: {}", what, error.what());
  }
}

sc_core::sc_time picoseconds(std::uint64_t ps) {
  return sc_core::sc_time::from_value(ps);
}

}  // namespace

/// Lets another thread end a running simulation: the kernel's own way to be entered from outside.
class System::Doorbell : public sc_core::sc_prim_channel {
 public:
  Doorbell() : sc_core::sc_prim_channel("doorbell") {}
  void ring() { async_request_update(); }

 private:
  void update() override { sc_core::sc_pause(); }
};

System::System() {
  doorbell_ = std::make_unique<Doorbell>();
  for (std::uint32_t d = 0; d < devices_.size(); ++d) devices_[d] = std::make_unique<Device>(context_, d);
}

Result<System*> System::instance() {
  if (g_system != nullptr) return g_system;
  sc_report_handler::set_handler(on_report);
  System* built = nullptr;
  if (auto status =
          guarded("elaboration",
                  [&] {
                    if (sc_core::sc_get_time_resolution() != sc_core::sc_time(1, sc_core::SC_PS)) {
                      throw std::runtime_error("the time resolution of the kernel in this process is not 1 ps");
                    }
                    built = new System();
                    sc_core::sc_start(sc_core::SC_ZERO_TIME);
                  });
      !status) {
    return tl::unexpected(status.error());
  }
  g_system = built;
  return g_system;
}

Status System::power_on(const ChipConfig& config, std::function<void(int, const std::string&)> log, Faults* faults) {
  context_.config = config;
  context_.log_sink = std::move(log);
  context_.faults = faults;
  if (faults != nullptr) {
    faults->on_strike([this](const faults::Strike& strike) {
      context_.log(LogLevel::kInfo, describe(strike));
      if (context_.fault_struck) context_.fault_struck(strike);
    });
  }
  context_.power_on_ps = sc_core::sc_time_stamp().value();
  for (std::uint32_t d = 0; d < config.devices; ++d) {
    // A chain (inf1-arch.rst).
    devices_[d]->connect(d + 1 < config.devices ? devices_[d + 1].get() : nullptr,
                         d > 0 ? devices_[d - 1].get() : nullptr);
    if (auto status = devices_[d]->power_on(); !status) {
      power_off();
      return status;
    }
  }
  return {};
}

void System::power_off() {
  for (std::uint32_t d = 0; d < context_.config.devices; ++d) devices_[d]->power_off();
  // Cancelled events stay in the kernel's heap until they are on top, and its shape decides who is first among equals:
  // asking for the next one throws them all out, so that every power cycle begins with an empty heap.
  (void)sc_core::sc_pending_activity_at_future_time();
  context_.host.clear();
  context_.trace.clear();
  context_.host_written = {};
  context_.faults = nullptr;
  context_.fault_struck = {};
  context_.log_sink = {};
}

Status System::run(std::uint64_t until_ps) {
  const std::uint64_t now = context_.now_ps();
  if (until_ps <= now) return {};
  return guarded("run", [&] { sc_core::sc_start(picoseconds(until_ps - now), sc_core::SC_EXIT_ON_STARVATION); });
}

bool System::due(std::uint64_t until_ps) const {
  if (!sc_core::sc_pending_activity()) return false;
  const std::uint64_t now = context_.now_ps();
  return until_ps >= now && sc_core::sc_time_to_pending_activity().value() <= until_ps - now;
}

Status System::advance(std::uint64_t ps) {
  const std::uint64_t now = context_.now_ps();
  if (ps <= now) return {};
  return guarded("advance", [&] { sc_core::sc_start(picoseconds(ps - now), sc_core::SC_RUN_TO_TIME); });
}

void System::pause() {
  sc_core::sc_pause();
}
void System::request_pause() {
  doorbell_->ring();
}

}  // namespace opennrt::sim
