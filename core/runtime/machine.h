// SPDX-License-Identifier: Apache-2.0
//
// The machine as this process sees it through a backend: its devices, its NeuronCores, and who may use them.
#pragma once

#include <opennrt/backend.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/common/error.h"
#include "core/runtime/config.h"
#include "core/umd/umd.h"

namespace opennrt {

/// One NeuronCore.
struct Core {
  std::shared_ptr<umd::Device> device;
  std::uint32_t device_core = 0;     ///< number within the device
  std::uint32_t machine_number = 0;  ///< number within the machine, as the driver counts
};

/// Which backend a configuration means, and what has to be said about it.
struct BackendChoice {
  std::string name_or_path;
  std::string notice;  ///< empty, or the console warning that the simulator stands in
};
/// `neuron_device_present`: /dev/neuron0 exists. kDeviceGone: "neuron" was asked for and there is no device.
Result<BackendChoice> choose_backend(const Configuration& configuration, bool neuron_device_present);

/// A backend, opened, with its devices. Closing is the destructor. Thread-safe.
class Machine {
 public:
  /// kCoreCount: no device is opened if the backend can say without how many cores there are; then devices() and
  /// instance_type() mean nothing before reserve(). A simulator is not built for that, and so the process may fork
  /// afterwards. kFirstDevice: the first one is opened, to be asked what it is.
  enum class Detail { kCoreCount, kFirstDevice };
  static Result<std::unique_ptr<Machine>> open(Configuration configuration, Detail detail);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  const Configuration& configuration() const { return configuration_; }
  const umd::Backend& backend() const { return *backend_; }
  const opennrt_driver_version_t& driver() const { return driver_; }
  const std::vector<std::shared_ptr<umd::Device>>& devices() const { return devices_; }  ///< those that are open
  /// Of all devices that this process can see, as the backend numbers them, contiguous.
  const std::vector<std::uint32_t>& device_numbers() const { return device_numbers_; }
  std::uint32_t total_cores() const { return static_cast<std::uint32_t>(core_numbers_.size()); }
  std::string instance_type() const;

  /// Takes cores for this process (requirements B1 to B6), once. kResource with the documented line when they are not free,
  /// kInvalidArgument when the machine does not have them. The destructor gives them back. From then on the devices of
  /// these cores are open, and no others.
  Result<std::vector<Core>> reserve(const CoreRequest& request);
  /// How many cores a request means on this machine.
  Result<std::uint32_t> count(const CoreRequest& request) const;

 private:
  Machine() = default;
  Status open_device(std::uint32_t number);
  Status count_cores();  ///< opens devices only when the backend cannot say how many cores they have
  /// Opens the devices that have some of these cores, and closes the others.
  Status open_devices_of(const opennrt_core_map_t& cores);
  void warn_of_runtime_1() const;  ///< requirement D5
  std::string holders(std::uint32_t first, std::uint32_t last) const;
  static void host_log(void* context, opennrt_log_level_t level, const char* function, const char* text);
  static bool host_log_enabled(void* context, opennrt_log_level_t level);
  static const char* host_config(void* context, const char* name);

  Configuration configuration_;
  opennrt_host_t host_{};
  std::shared_ptr<umd::Backend> backend_;
  opennrt_driver_version_t driver_{};
  std::vector<std::shared_ptr<umd::Device>> devices_;
  std::vector<Core> cores_;  ///< of the open devices, ascending
  std::vector<std::uint32_t> device_numbers_;
  std::vector<std::uint32_t> core_numbers_;  ///< within the machine, of all cores that this process can see
  opennrt_core_map_t reserved_{};
  bool holds_cores_ = false;
};

}  // namespace opennrt
