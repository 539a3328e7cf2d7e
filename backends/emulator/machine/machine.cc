// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/machine.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "backends/emulator/machine/requests.h"

namespace opennrt::emulator {

Result<DriverVersion> DriverVersion::parse(const std::string& text) {
  DriverVersion version;
  if (text == "none") {
    version.present = false;
    return version;
  }
  const char *at = text.data(), *end = at + text.size();
  std::vector<std::uint32_t> parts;
  for (; parts.size() < 4; ++at) {
    std::uint32_t part = 0;
    const auto [rest, error] = std::from_chars(at, end, part);
    if (error != std::errc{} || (rest != end && *rest != '.')) break;
    parts.push_back(part);
    at = rest;
    if (at == end) break;
  }
  if (at != end || parts.size() < 2 || text.ends_with('.'))
    return make_error(ErrorCode::kInvalidArgument,
                      "driver version is '{}', expected 'none' or up to four numbers such as 2.24 or 2.24.7.0", text);
  version.text = text;
  version.major = parts[0];
  version.minor = parts[1];
  if (version.major < 2) version.compatible_min = version.compatible_max = 1;
  return version;
}

Result<std::unique_ptr<Machine>> Machine::make(const opennrt_host_t* host, driver::Config config,
                                               DriverVersion version) {
  auto arena = HostArena::make();
  if (!arena) return tl::unexpected<Error>(arena.error());
  return std::unique_ptr<Machine>(new Machine(host, std::move(config), std::move(version), std::move(*arena)));
}

Machine::Machine(const opennrt_host_t* host, driver::Config config, DriverVersion version,
                 std::unique_ptr<HostArena> arena)
    : version_(std::move(version)),
      arena_(std::move(arena)),
      backend_(host, std::move(config), *arena_),
      processes_([this](Process& process) { bury(process); }) {}

Machine::~Machine() = default;

std::uint64_t Machine::visible_mask() const {
  std::uint64_t mask = 0;
  for (const std::uint32_t device : config().visible) mask |= std::uint64_t{1} << device;
  return mask;
}

Node* Machine::node(std::uint32_t device) {
  const std::lock_guard guard(nodes_mutex_);
  if (const auto at = nodes_.find(device); at != nodes_.end()) return at->second.get();
  driver::Device* opened = nullptr;
  if (!version_.present || backend_.device_open(device, opened) != 0) return nullptr;
  return nodes_.emplace(device, std::make_unique<Node>(*opened, *arena_)).first->second.get();
}

Node* Machine::peek(std::uint32_t device) {
  const std::lock_guard guard(nodes_mutex_);
  const auto at = nodes_.find(device);
  return at == nodes_.end() ? nullptr : at->second.get();
}

int Machine::open_file(std::uint64_t number, std::uint32_t device, std::uint32_t flags, pid_t pid) {
  const auto& visible = config().visible;
  if (!version_.present || !std::binary_search(visible.begin(), visible.end(), device)) return -ENODEV;
  File file;
  file.device = device;
  file.free_access = (flags & O_WRONLY) != 0;  // neuron_cdev.c, IS_NEURON_DEVICE_FREE_ACCESS
  file.opener = pid;
  {
    const std::lock_guard guard(files_mutex_);
    if (files_.contains(number)) return -EEXIST;
  }
  if (!file.free_access) {
    Node* opened = node(device);
    if (opened == nullptr) return -EIO;
    if (const int error = opened->attach(pid); error != 0) return error;
  }
  const std::lock_guard guard(files_mutex_);
  files_.emplace(number, std::move(file));
  return 0;
}

void Machine::flush(std::uint64_t number, pid_t pid) {
  std::uint32_t device = 0;
  {
    const std::lock_guard guard(files_mutex_);
    const auto at = files_.find(number);
    if (at == files_.end()) return;
    if (at->second.free_access) {
      marks_.unmark_all(pid);  // whatever it was marked through (ncdev_misc_flush)
      return;
    }
    if (at->second.opener == pid) at->second.flushed = true;
    device = at->second.device;
  }
  if (Node* used = peek(device)) used->flush(pid);
}

void Machine::close_file(std::uint64_t number) {
  std::set<pid_t> last_users;
  File file;
  {
    const std::lock_guard guard(files_mutex_);
    const auto at = files_.find(number);
    if (at == files_.end()) return;
    file = at->second;
  }
  // A descriptor that the kernel closed, at exec or exit: the process did not say so.
  if (!file.flushed) flush(number, file.opener);
  bool last = !file.free_access;
  {
    const std::lock_guard guard(files_mutex_);
    files_.erase(number);
    for (const auto& [other, open] : files_) last = last && (open.free_access || open.device != file.device);
  }
  if (!last) return;
  if (Node* used = peek(file.device)) used->release();
}

void Machine::bury(Process& process) {
  const pid_t pid = process.pid();
  std::vector<std::uint64_t> used;
  {
    const std::lock_guard guard(files_mutex_);
    for (const auto& [number, file] : files_) {
      if (file.free_access && (file.opener == pid || file.users.contains(pid))) used.push_back(number);
    }
  }
  for (const std::uint64_t number : used) flush(number, pid);
  std::vector<Node*> nodes;
  {
    const std::lock_guard guard(nodes_mutex_);
    for (const auto& [device, node] : nodes_) nodes.push_back(node.get());
  }
  for (Node* node : nodes) {
    node->end(pid);
    node->ds_release(pid, pid);  // a process may have one without having opened the device itself
  }
  const std::lock_guard guard(files_mutex_);
  for (auto& [number, file] : files_) {
    file.users.erase(pid);
    if (file.opener == pid) file.flushed = true;
  }
}

bool Machine::looks_at_others(Op op) {
  switch (op) {
    case Op::kSysfs:
    case Op::kApps:
    case Op::kRangeMark:
    case Op::kMemAlloc:
    case Op::kMemFind:
    case Op::kMemStats:
    case Op::kNqInit:
    case Op::kDsAcquire:
    case Op::kWriterEnter:
    case Op::kReaderEnter:
      return true;
    default:
      return false;
  }
}

Reply Machine::serve(Process& process, const Request& request, Window window) {
  Exchange exchange{*this, process, request, window, {}, nullptr, 0, pump_};
  Reply& reply = exchange.reply;
  if (request.bytes > window.data.size()) {
    reply.error = -EINVAL;
    return reply;
  }
  if (request.op == Op::kMachine || request.op == Op::kSysfs) {
    reply.error = serve_machine(exchange);
    return reply;
  }
  bool free_access = false;
  {
    const std::lock_guard guard(files_mutex_);
    const auto at = files_.find(request.file);
    if (at == files_.end()) {
      reply.error = -EBADF;
      return reply;
    }
    at->second.users.insert(process.pid());
    exchange.device = at->second.device;
    free_access = at->second.free_access;
  }
  if (request.op == Op::kFlush) {
    flush(request.file, process.pid());
    return reply;
  }
  if (free_access && !served_with_free_access(request.op)) {
    reply.error = -EINVAL;
    return reply;
  }
  if (!needs_no_device(request.op)) {
    exchange.node = node(exchange.device);
    if (exchange.node == nullptr) {
      reply.error = -EIO;
      return reply;
    }
    if (for_attached_only(request.op) && !exchange.node->attached(process.pid())) {
      reply.error = -EACCES;
      return reply;
    }
  }
  reply.error = serve_file(exchange);
  return reply;
}

}  // namespace opennrt::emulator
