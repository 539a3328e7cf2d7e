// SPDX-License-Identifier: Apache-2.0
#include "core/observe/debug_stream.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "core/common/per_process.h"
#include "core/observe/log.h"

namespace opennrt::observe::debug_stream {
namespace {

struct Stream {
  std::uint32_t vnc = 0;
  std::uint64_t capacity = 0;
  std::uint64_t dropped = 0;
  std::deque<Event> events;
};

struct Streams {
  std::mutex mutex;
  std::map<int, Stream> by_descriptor;

  std::map<int, Stream>::iterator of_core(std::uint32_t vnc) {
    return std::find_if(by_descriptor.begin(), by_descriptor.end(),
                        [vnc](const auto& entry) { return entry.second.vnc == vnc; });
  }
};

/// Only a hint, which a child of fork(2) inherits: its Streams are its own, and empty.
std::atomic<std::uint32_t> connections{0};

/// The descriptor is a semaphore that counts the events: readable while there is one.
void count_up(int descriptor) {
  const std::uint64_t one = 1;
  while (::write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {
  }
}
void count_down(int descriptor) {
  std::uint64_t one = 0;
  while (::read(descriptor, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

auto not_a_connection(int descriptor) {
  return make_error(ErrorCode::kInvalidHandle, "stream_fd is {}, expected a connection that has not been closed",
                    descriptor);
}

}  // namespace

bool wanted(std::uint32_t vnc) {
  if (connections.load(std::memory_order_relaxed) == 0) return false;
  Streams& streams = per_process<Streams>();
  const std::lock_guard lock(streams.mutex);
  return streams.of_core(vnc) != streams.by_descriptor.end();
}

void emit(std::uint32_t vnc, const DebugTensor& tensor) {
  if (connections.load(std::memory_order_relaxed) == 0) return;
  Event event;
  event.vnc = vnc;
  event.name = tensor.name;
  event.dtype = tensor.dtype;
  std::copy_n(tensor.shape.begin(), std::min(tensor.shape.size(), event.shape.size()), event.shape.begin());
  event.data.assign(tensor.data.begin(), tensor.data.end());
  Streams& streams = per_process<Streams>();
  std::uint64_t dropped = 0;
  {
    const std::lock_guard lock(streams.mutex);
    const auto found = streams.of_core(vnc);
    if (found == streams.by_descriptor.end()) return;
    Stream& stream = found->second;
    if (stream.events.size() < stream.capacity) {
      stream.events.push_back(std::move(event));
      count_up(found->first);
    } else {
      dropped = ++stream.dropped;
    }
  }
  if (dropped == 1) {
    log(Component::kNrt, Level::kWarn, "debug_stream",
        "the debug stream of nc{} is full, \"{}\" and what follows is dropped until the client reads", vnc,
        tensor.name);
  }
}

Result<int> connect(std::uint32_t vnc, std::uint64_t capacity) {
  Streams& streams = per_process<Streams>();
  const std::lock_guard lock(streams.mutex);
  if (const auto found = streams.of_core(vnc); found != streams.by_descriptor.end()) {
    return make_error(ErrorCode::kInvalidArgument,
                      "the debug stream of nc{} has a client already (stream_fd {}); expected one at a time", vnc,
                      found->first);
  }
  const int descriptor = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor < 0) {
    return make_error(ErrorCode::kResource, "no file descriptor for the debug stream of nc{}: {}", vnc,
                      std::strerror(errno));
  }
  streams.by_descriptor.insert_or_assign(descriptor, Stream{vnc, capacity, 0, {}});
  connections.fetch_add(1, std::memory_order_relaxed);
  return descriptor;
}

Status close(int descriptor) {
  Streams& streams = per_process<Streams>();
  Stream gone;
  {
    const std::lock_guard lock(streams.mutex);
    const auto found = streams.by_descriptor.find(descriptor);
    if (found == streams.by_descriptor.end()) return not_a_connection(descriptor);
    gone = std::move(found->second);
    streams.by_descriptor.erase(found);
    connections.fetch_sub(1, std::memory_order_relaxed);
    ::close(descriptor);
  }
  if (gone.dropped > 0) {
    log(Component::kNrt, Level::kWarn, "debug_stream", "the debug stream of nc{} has dropped {} events", gone.vnc,
        gone.dropped);
  }
  return {};
}

Result<bool> read(int descriptor, const std::function<Status(const Event&)>& take) {
  Streams& streams = per_process<Streams>();
  const std::lock_guard lock(streams.mutex);
  const auto found = streams.by_descriptor.find(descriptor);
  if (found == streams.by_descriptor.end()) return not_a_connection(descriptor);
  std::deque<Event>& events = found->second.events;
  if (events.empty()) return false;
  if (const Status taken = take(events.front()); !taken) return tl::unexpected(taken.error());
  events.pop_front();
  count_down(descriptor);
  return true;
}

}  // namespace opennrt::observe::debug_stream
