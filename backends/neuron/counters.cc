// SPDX-License-Identifier: Apache-2.0
//
// The driver's datastores of counters, one per process and device (neuron_ds.c). Their layout: core/observe/counters.h.
#include <cerrno>

#include "backends/neuron/device.h"

namespace opennrt::neuron {

int Device::counters_map(std::int32_t pid, void*& address, std::size_t& bytes) {
  if (pid < 0) return -EINVAL;
  abi::NeuronDsInfo request{};
  request.pid = pid;
  if (const int error = file_.request(abi::kAcquireNeuronDs, &request); error != 0) return error;
  const int error = file_.system().mmap(file_.fd(), request.mmap_offset, request.size, pid == 0, address);
  const std::lock_guard guard(counters_mutex_);
  if (error != 0) {
    bool others = false;  // mappings of the same datastore by this object, which need it
    for (const auto& [mapped, counters] : counters_) others |= counters.pid == pid;
    abi::NeuronDsInfo release{};
    release.pid = pid;
    if (!others) file_.request(abi::kReleaseNeuronDs, &release);
    return error;
  }
  bytes = request.size;
  counters_.emplace(address, Counters{pid, bytes});
  return 0;
}

int Device::counters_unmap(void* address) {
  const std::lock_guard guard(counters_mutex_);
  const auto found = counters_.find(address);
  if (found == counters_.end()) return -EINVAL;
  const Counters counters = found->second;
  counters_.erase(found);
  file_.system().munmap(address, counters.bytes);
  // There is one datastore per process, however often it is acquired: only the last one gives it back.
  for (const auto& [other, others] : counters_) {
    if (others.pid == counters.pid) return 0;
  }
  abi::NeuronDsInfo release{};
  release.pid = counters.pid;
  return file_.request(abi::kReleaseNeuronDs, &release);
}

}  // namespace opennrt::neuron
