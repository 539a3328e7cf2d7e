// SPDX-License-Identifier: Apache-2.0
#include "backends/neuron/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "backends/neuron/abi.h"

namespace opennrt::neuron {
namespace {

constexpr char kProductName[] = "/sys/devices/virtual/dmi/id/product_name";  // EC2 puts the instance type there

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// A number that fills `text` from `at` to the next character that is no digit; moves `at` there.
bool take_number(std::string_view text, std::size_t& at, std::uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  at = static_cast<std::size_t>(end - text.data());
  return true;
}

}  // namespace

std::string device_path(std::uint32_t number) {
  return fmt::format("/dev/neuron{}", number);
}

std::vector<std::uint32_t> device_numbers(Syscalls& system) {
  constexpr std::string_view kPrefix = "neuron";
  std::vector<std::uint32_t> numbers;
  for (const std::string& name : system.list("/dev")) {
    if (!name.starts_with(kPrefix)) continue;
    std::size_t at = kPrefix.size();
    std::uint32_t number = 0;
    if (take_number(name, at, number) && at == name.size() && number < OPENNRT_MAX_DEVICES) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::optional<opennrt_driver_version_t> driver_version(Syscalls& system) {
  const auto file = system.read_file(kVersionFile);
  if (!file) return std::nullopt;
  const std::string text = trimmed(*file);
  opennrt_driver_version_t version{};
  std::size_t at = 0;
  if (!take_number(text, at, version.major) || at >= text.size() || text[at] != '.') return std::nullopt;
  ++at;
  if (!take_number(text, at, version.minor)) return std::nullopt;
  std::memcpy(version.text, text.data(), std::min(text.size(), sizeof(version.text) - 1));
  return version;
}

std::string instance_type(Syscalls& system) {
  const std::string product = trimmed(system.read_file(kProductName).value_or(""));
  return product.starts_with("inf1.") ? product : "inf1";
}

int probe_features(const File& file, Features& features) {
  features = {};
  abi::DeviceDriverInfo info{};
  int error = file.request(abi::kDriverInfoGet, &info);
  if (error == 0) {
    const std::uint64_t flags = info.feature_flags1;
    features.architecture = info.architecture;
    features.revision = info.revision;
    features.driver_info = true;
    features.batch_queue_init = (flags & abi::kFeatureBatchQueueInit) != 0;
    features.big_core_maps = (flags & abi::kFeatureBigCoreMaps) != 0;
    features.memory_type = (flags & abi::kFeatureMemAllocType) != 0;
    features.memory64 = (flags & abi::kFeatureMemAlloc64) != 0;
    return 0;
  }
  if (!is_unknown_request(error)) return error;
  abi::DeviceBasicInfo basic{};
  error = file.request(abi::kDeviceBasicInfo, &basic);
  features.architecture = basic.architecture;
  features.revision = basic.revision;
  return error;
}

std::string architecture_name(std::uint32_t architecture) {
  // neuron_arch.h has numbers 1 to 3; aws-neuron-sdk about-neuron/arch/neuron-hardware says which chips they are.
  switch (architecture) {
    case 1:
      return "Inferentia (Inf1)";
    case 2:
      return "Inferentia2 or Trainium (Inf2, Trn1)";
    case 3:
      return "Trainium2 (Trn2)";
    case 4:
      return "Trainium3 (Trn3)";
    default:
      return "unknown";
  }
}

std::string open_refusal(Syscalls& system, const std::string& path, int error) {
  std::string text = fmt::format("{} cannot be opened: {}", path, std::strerror(-error));
  if (error == -EACCES || error == -EPERM) {
    if (const auto node = system.access(path)) {
      text += fmt::format(
          ". It has mode {:04o} and belongs to {}:{}, this process runs as uid {}. Please add the user to group {}, or "
          "give it read and write permission by a udev rule; in a container also check that the device is passed in",
          node->mode, node->owner, node->group, node->uid, node->group);
    }
  } else if (error == -EBUSY) {
    text += fmt::format(". The driver serves at most {} processes of a device at a time", abi::kMaxProcessesPerDevice);
  } else if (error == -EINVAL) {
    text += ". The driver gives this answer for a device whose last reset failed; its kernel log says more";
  }
  return text;
}

}  // namespace opennrt::neuron
