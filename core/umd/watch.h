// SPDX-License-Identifier: Apache-2.0
//
// Watches one inference for the system trace and for device profiles. Internal to this library.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/observe/profile.h"
#include "core/umd/core_context.h"

namespace opennrt::umd {

/// The instructions of a program, disassembled, per engine.
using ProgramText = std::array<std::shared_ptr<const std::vector<std::string>>, isa::kEngines>;

/// Made and used by who holds the core's turn. Costs two relaxed loads when nobody wants to know.
class InferenceWatch {
 public:
  /// Before the doorbells. `id` nullptr: nobody will ask about this inference.
  InferenceWatch(CoreContext& context, Device& device, const observe::profile::ProgramId* id);
  ~InferenceWatch();
  InferenceWatch(const InferenceWatch&) = delete;
  InferenceWatch& operator=(const InferenceWatch&) = delete;

  /// After the end, before the core is brought back from a failure. `began_ns`: device clock of the first doorbell.
  /// `notification_shift_ns`: that clock minus the one of the notifications. `text` is only called for a profile.
  void finish(const ExecutionReport& report, std::uint64_t began_ns, std::int64_t notification_shift_ns,
              const std::function<ProgramText()>& text);

 private:
  void trace(const ExecutionReport& report, std::uint64_t began_ns);
  void profile(const ExecutionReport& report, std::uint64_t began_ns, std::int64_t notification_shift_ns,
               const ProgramText& text);

  CoreContext& context_;
  Device& device_;
  const observe::profile::ProgramId* id_;
  bool traced_ = false, profiled_ = false;
  std::string untraced_;  ///< why the engines are not recorded
  std::uint64_t exec_id_ = 0, host_begin_ns_ = 0, host_ns_ = 0;
  std::uint64_t sync_host_ns_ = 0, sync_device_ns_ = 0;
  std::chrono::steady_clock::time_point begin_;
};

/// What an engine did, from its trace notifications in the order in which they came. An instruction whose start is missing
/// begins where the one before it ended, or at `began_ns`; missing entries are counted.
observe::profile::EngineActivity activity_of(isa::Engine engine, const std::vector<inf1::chosen::Notification>& entries,
                                             std::uint64_t began_ns,
                                             std::shared_ptr<const std::vector<std::string>> text);

}  // namespace opennrt::umd
