// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/sysfs.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

namespace opennrt::emulator {
namespace {

using observe::CoreCounter;

/// Contents by path, relative to where the tree is. Small enough to be made anew for each question.
using Tree = std::map<std::string, std::string>;

struct Named {
  std::string_view name;
  CoreCounter counter;
};

// Names of neuron_sysfs_metrics.c, status_counter_nodes_info_tbl and custom_counter_nodes_info_tbl; those that
// core/observe/counters.h counts.
constexpr Named kStatus[] = {{"success", CoreCounter::kCompleted},
                             {"failure", CoreCounter::kGenericFailure},
                             {"timeout", CoreCounter::kTimedOut},
                             {"exec_bad_input", CoreCounter::kIncorrectInput},
                             {"hw_error", CoreCounter::kHardwareError},
                             {"execute_completed_with_error", CoreCounter::kCompletedWithError},
                             {"execute_completed_with_num_error", CoreCounter::kCompletedWithNumericalError},
                             {"generic_error", CoreCounter::kGenericError},
                             {"resource_error", CoreCounter::kResourceError},
                             {"resource_nc_error", CoreCounter::kNotEnoughCores},
                             {"execute_failed_to_queue", CoreCounter::kFailedToQueue},
                             {"invalid_error", CoreCounter::kInvalid},
                             {"unsupported_neff_version", CoreCounter::kUnsupportedNeffVersion},
                             {"oob_error", CoreCounter::kOutOfBounds},
                             {"hw_hbm_ue_error", CoreCounter::kHbmUncorrectable},
                             {"hw_nc_ue_error", CoreCounter::kCoreUncorrectable},
                             {"hw_dma_abort_error", CoreCounter::kDmaAbort},
                             {"execute_sw_nq_overflow", CoreCounter::kNotificationOverflow}};
constexpr Named kOther[] = {{"model_load_count", CoreCounter::kModelLoads},
                            {"inference_count", CoreCounter::kInferences},
                            {"nc_time_in_use", CoreCounter::kTimeInUse}};

struct Category {
  std::string_view name;
  std::uint32_t number;  ///< mem_alloc_category_t of neuron_driver_shared.h
};
constexpr Category kDeviceMemory[] = {
    {"model_code", OPENNRT_MEM_CODE_DEVICE},     {"tensors", OPENNRT_MEM_TENSORS_DEVICE},
    {"constants", OPENNRT_MEM_CONSTANTS_DEVICE}, {"model_shared_scratchpad", OPENNRT_MEM_SCRATCHPAD_DEVICE},
    {"runtime_memory", OPENNRT_MEM_MISC_DEVICE}, {"notifications", OPENNRT_MEM_NOTIFICATION_DEVICE},
    {"dma_rings", OPENNRT_MEM_DMA_RINGS_DEVICE}};
constexpr Category kHostMemory[] = {
    {"dma_buffers", OPENNRT_MEM_CODE_HOST},           {"tensors", OPENNRT_MEM_TENSORS_HOST},
    {"constants", OPENNRT_MEM_CONSTANTS_HOST},        {"application_memory", OPENNRT_MEM_MISC_HOST},
    {"notifications", OPENNRT_MEM_NOTIFICATION_HOST}, {"dma_rings", OPENNRT_MEM_DMA_RINGS_HOST}};

void put(Tree& tree, const std::string& folder, const Node::Usage& usage, bool peak) {
  tree[folder + "/total"] = fmt::format("{}\n", usage.total);
  tree[folder + "/present"] = fmt::format("{}\n", usage.last);  // the driver's word for the last change
  if (peak) tree[folder + "/peak"] = fmt::format("{}\n", usage.peak);
}

void put_core(Tree& tree, const Node* node, std::uint32_t core) {
  const std::string folder = fmt::format("neuron_core{}", core), stats = folder + "/stats";
  const auto counter = [&](CoreCounter which) { return node != nullptr ? node->counter(core, which) : Node::Usage{}; };
  tree[folder + "/info/architecture/arch_type"] = "NCv1\n";
  for (const auto& [name, which] : kStatus) put(tree, fmt::format("{}/status/{}", stats, name), counter(which), false);
  for (const auto& [name, which] : kOther)
    put(tree, fmt::format("{}/other_info/{}", stats, name), counter(which), false);
  put(tree, stats + "/other_info/reset_req_count", node != nullptr ? node->resets(core) : Node::Usage{}, false);
  const std::string memory = stats + "/memory_usage";
  put(tree, memory + "/host_mem", node != nullptr ? node->host_memory(core) : Node::Usage{}, true);
  put(tree, memory + "/device_mem", node != nullptr ? node->device_memory(core) : Node::Usage{}, true);
  for (const auto& [name, number] : kDeviceMemory) {
    put(tree, fmt::format("{}/device_mem/{}", memory, name),
        node != nullptr ? node->device_category(core, number) : Node::Usage{}, true);
  }
}

/// One device. Its connections need no powered machine: Inferentias form a chain, the east neighbour is named first.
Tree device_tree(Machine& machine, std::uint32_t device) {
  const Node* node = machine.peek(device);
  const std::uint32_t cores = machine.config().cores_per_device, devices = machine.config().devices;
  Tree tree;
  tree["dev"] = fmt::format("{}:{}\n", kMajor, device);
  tree["uevent"] = fmt::format("MAJOR={}\nMINOR={}\nDEVNAME=neuron{}\n", kMajor, device, device);
  tree["reset"] = "1\n";                          // NEURON_DEVICE_STATE_READY
  tree["core_count"] = fmt::format("{}", cores);  // without an end of line, as the driver writes it
  std::string connected;
  if (device + 1 < devices) connected = std::to_string(device + 1);
  if (device > 0) connected += (connected.empty() ? "" : ", ") + std::to_string(device - 1);
  tree["connected_devices"] = connected + "\n";
  tree["info/notify_delay"] = "-1\n";  // nobody is notified
  tree["info/architecture/arch_type"] = "NDv1\n";
  tree["info/architecture/instance_type"] = "Inf1\n";
  tree["info/architecture/device_name"] = "Inferentia\n";
  for (const auto& [name, number] : kHostMemory) {
    put(tree, fmt::format("stats/memory_usage/host_mem/{}", name),
        node != nullptr ? node->host_category(number) : Node::Usage{}, true);
  }
  for (std::uint32_t core = 0; core < cores; ++core) put_core(tree, node, core);
  return tree;
}

int look_up(const Tree& tree, const std::string& path, std::string& out) {
  if (const auto file = tree.find(path); file != tree.end()) {
    out = file->second;
    return 0;
  }
  const std::string prefix = path.empty() ? "" : path + "/";
  std::string last;
  for (auto at = tree.lower_bound(prefix); at != tree.end() && at->first.starts_with(prefix); ++at) {
    const std::string name = at->first.substr(prefix.size(), at->first.find('/', prefix.size()) - prefix.size());
    if (name == last) continue;
    out += name + '\0';
    last = name;
  }
  return out.empty() ? -ENOENT : -EISDIR;
}

/// The rest of `path` below `folder`, "" if it is the folder itself.
std::optional<std::string> below(const std::string& path, std::string_view folder) {
  if (!path.starts_with(folder)) return std::nullopt;
  if (path.size() == folder.size()) return "";
  return path[folder.size()] == '/' ? std::optional(path.substr(folder.size() + 1)) : std::nullopt;
}

}  // namespace

int read_sysfs(Machine& machine, const std::string& asked, std::string& out) {
  out.clear();
  if (!machine.version().present) return -ENOENT;
  std::string path = asked;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (const auto rest = below(path, "/sys/module/neuron"))
    return look_up({{"version", machine.version().text + "\n"}, {"initstate", "live\n"}}, *rest, out);
  for (const std::string_view folder : {"/sys/class/neuron_device", "/sys/devices/virtual/neuron_device"}) {
    const auto rest = below(path, folder);
    if (!rest) continue;
    if (rest->empty()) {
      for (const std::uint32_t device : machine.config().visible) out += fmt::format("neuron{}", device) + '\0';
      return -EISDIR;
    }
    constexpr std::string_view kName = "neuron";
    if (!rest->starts_with(kName)) return -ENOENT;
    std::uint32_t device = 0;
    const char *at = rest->data() + kName.size(), *end = rest->data() + rest->size();
    const auto [stop, error] = std::from_chars(at, end, device);
    if (error != std::errc{} || (stop != end && *stop != '/') || fmt::format("{}", device) != std::string(at, stop) ||
        device >= 64 || (machine.visible_mask() >> device & 1) == 0)
      return -ENOENT;
    return look_up(device_tree(machine, device), stop == end ? "" : std::string(stop + 1, end), out);
  }
  return -ENOENT;
}

}  // namespace opennrt::emulator
