// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/record.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "backends/emulator/preload/copy.h"
#include "backends/emulator/preload/describe.h"
#include "backends/emulator/preload/record_file.h"
#include "backends/emulator/preload/record_memory.h"
#include "backends/emulator/preload/system.h"
#include "backends/emulator/preload/transcript.h"
#include "backends/emulator/preload/transcript_aliases.h"

namespace opennrt::emulator {
namespace {

constexpr std::size_t kNotificationBytes = 16;  ///< a notification of Inf1 (aws-neuron-driver v1: two words of 8)
constexpr std::size_t kPayloadLine = 64;        ///< bytes of payload in a line
constexpr char kVersionFile[] = "/sys/module/neuron/version";

/// Files whose contents say nothing about whose machine it is: versions, counts, names of products. A serial number, or
/// whatever a future driver adds, is only shown by its size.
bool is_public(std::string_view path) {
  constexpr std::string_view kNames[] = {"version",   "core_count",    "connected_devices", "dev",   "uevent",  "reset",
                                         "arch_type", "instance_type", "device_name",       "total", "present", "peak"};
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

pid_t own_pid() {
  return static_cast<pid_t>(system_call(SYS_getpid));
}

class Recorder final : public Provider {
 public:
  Recorder(std::unique_ptr<Provider> inner, std::string path) : inner_(std::move(inner)), file_(std::move(path)) {
    const char* payload = std::getenv(kPayloadVariable);
    payload_ = payload != nullptr && std::strcmp(payload, "yes") == 0;
  }

  int open(int device, int flags) override {
    const int fd = inner_->open(device, flags);
    recorded([&] {
      std::string text = "open device=" + std::to_string(device) + " flags=" + open_flags_text(flags) + " -> ";
      if (fd >= 0) aliases_.forget(Kind::kFd, 0, static_cast<std::uint64_t>(fd));
      text += fd >= 0 ? aliases_.of(Kind::kFd, 0, static_cast<std::uint64_t>(fd)) : result_text(fd);
      write_event(text);
    });
    return fd;
  }

  int device_of(int fd) override { return inner_->device_of(fd); }

  int ioctl(int fd, unsigned long request, void* argument) override {
    const RequestDescription* known = describe(request);
    const int device = inner_->device_of(fd);
    std::string text, data;
    recorded([&] {
      write_changes();
      text = "ioctl " + descriptor(fd, device) + " ";
      text += known != nullptr ? known->name : "request=" + hex_number(request);
      if (known != nullptr) add_fields(leaves(*known, argument), device, false, Aliases::Known(), text, data);
    });
    const int result = inner_->ioctl(fd, request, argument);
    recorded([&] {
      text += " -> " + result_text(result);
      if (known != nullptr && (result >= 0 || known->out_on_error)) add_results(*known, argument, device, text, data);
      write_event(text, data, known != nullptr && known->reads);
      if (known != nullptr && known->frees && result >= 0) forget(leaves(*known, argument), device);
      write_changes();
    });
    return result;
  }

  void* mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) override {
    const int device = inner_->device_of(fd);
    std::string text;
    recorded([&] {
      write_changes();
      text = "mmap " + descriptor(fd, device) +
             " offset=" + aliases_.of(Kind::kMmapOffset, device, static_cast<std::uint64_t>(offset)) + " " +
             mmap_text(bytes, protection, flags) + " -> ";
    });
    void* at = inner_->mmap(address, bytes, protection, flags, fd, offset);
    const int error = at == MAP_FAILED ? errno : 0;
    recorded([&] {
      if (error != 0) {
        write_event(text + result_text(-error));
        return;
      }
      memory_.forget(at, bytes);
      write_event(text + "map" + std::to_string(++last_map_));
      const auto* origin = aliases_.find(Kind::kMmapOffset, device, static_cast<std::uint64_t>(offset));
      const bool notifications = origin != nullptr && origin->origin == Origin::kNotifications;
      const bool datastore = origin != nullptr && origin->origin == Origin::kDatastore;
      if ((protection & PROT_READ) != 0 && (notifications || (payload_ && !datastore)))
        memory_.follow(last_map_, at, bytes, notifications ? kNotificationBytes : kPayloadLine);
      mapped_ = true;
      write_changes();
    });
    if (error != 0) errno = error;
    return at;
  }

  void unmapping(void* address, std::size_t bytes) override {
    if (mapped_) {
      recorded([&] {
        write_changes();
        for (const unsigned map : memory_.forget(address, bytes)) write_event("unmap map" + std::to_string(map));
      });
    }
    inner_->unmapping(address, bytes);
  }

  void closing(int fd) override {
    const int device = inner_->device_of(fd);
    recorded([&] {
      write_changes();
      write_event("close " + descriptor(fd, device));
      aliases_.forget(Kind::kFd, 0, static_cast<std::uint64_t>(fd));
    });
    inner_->closing(fd);
  }

  std::optional<std::string> file(const std::string& path) override {
    auto contents = inner_->file(path);
    if (contents) recorded([&] { write_fact(Verb::kFile, path, shown_contents(path, *contents)); });
    return contents;
  }

  std::optional<std::vector<std::string>> folder(const std::string& path) override {
    auto names = inner_->folder(path);
    if (names) {
      recorded([&] {
        std::string text;
        for (const std::string& name : *names) text += (text.empty() ? "" : " ") + quoted(name);
        write_fact(Verb::kFolder, path, text);
      });
    }
    return names;
  }

 private:
  /// Runs a piece of recording: alone, in a process that is known, without touching errno. What runs out of memory is
  /// not recorded; the program goes on.
  template <typename Piece>
  void recorded(const Piece& piece) {
    const KeepErrno keep;
    try {
      watch_forks_and_exit();
      const std::lock_guard lock(mutex_);
      begin();
      piece();
    } catch (...) {
      constexpr char kText[] = "opennrt: out of memory: the recording lacks a line\n";
      system_call(SYS_write, 2, kText, sizeof kText - 1);
    }
  }

  void watch_forks_and_exit() {
    active_ = this;
    std::call_once(watched_, [] {
      pthread_atfork([] { active_.load()->mutex_.lock(); }, [] { active_.load()->mutex_.unlock(); },
                     [] { active_.load()->mutex_.unlock(); });
      std::atexit([] {
        const std::lock_guard lock(active_.load()->mutex_);
        if (active_.load()->pid_ == own_pid()) active_.load()->write_repeats();
      });
    });
  }

  /// A process begins at its first call; a child after fork is a new one that knows the names of its parent.
  void begin() {
    const pid_t pid = own_pid();
    if (pid == pid_) return;
    if (pid_ != 0) {
      memory_.forget_all();  // the driver's mappings do not pass a fork (VM_DONTCOPY, neuron_mmap.c)
      threads_.clear();
      facts_.clear();
      last_line_.clear();
      repeats_ = 0;
    }
    std::string driver = inner_->file(kVersionFile).value_or("");
    if (driver.ends_with('\n')) driver.pop_back();
    process_ = file_.begin(transcript_header(driver, payload_), process_);
    pid_ = pid;
  }

  std::string prefix() {
    const auto tid = system_call(SYS_gettid);
    const unsigned thread = threads_.emplace(tid, static_cast<unsigned>(threads_.size() + 1)).first->second;
    return std::to_string(process_) + "." + std::to_string(thread) + " ";
  }

  void write_event(const std::string& text, const std::string& data = {}, bool foldable = false) {
    std::string line = prefix() + text + "\n";
    if (foldable && data.empty() && line == last_line_) {
      ++repeats_;
      return;
    }
    write_repeats();
    last_line_ = foldable && data.empty() ? line : "";
    file_.append(line + data);
  }

  void write_repeats() {
    if (repeats_ == 0) return;
    const std::string who = last_line_.substr(0, last_line_.find(' ') + 1);
    file_.append(who + "again " + std::to_string(repeats_) + "\n");
    repeats_ = 0;
    last_line_.clear();
  }

  void write_changes() {
    std::string lines;
    memory_.changes([&](unsigned map, std::size_t offset, const std::string& bytes) {
      lines += prefix() + "memory map" + std::to_string(map) + "+" + hex_number(offset) + " " +
               hex_bytes(bytes.data(), bytes.size()) + "\n";
    });
    if (lines.empty()) return;
    write_repeats();
    last_line_.clear();
    file_.append(lines);
  }

  void write_fact(Verb verb, const std::string& path, const std::string& text) {
    std::string& last = facts_[path];
    if (last == text && !text.empty()) return;
    last = text;
    write_event(verb_name(verb) + (" " + quoted(path)) + " ->" + (text.empty() ? "" : " " + text));
  }

  std::string shown_contents(const std::string& path, const std::string& contents) const {
    return is_public(path) ? quoted(contents) : left_out(contents.size());
  }

  /// The name of a descriptor; one that this process has not opened is introduced by a line of its own.
  std::string descriptor(int fd, int device) {
    const auto value = static_cast<std::uint64_t>(fd);
    const bool known = aliases_.find(Kind::kFd, 0, value) != nullptr;
    std::string name = aliases_.of(Kind::kFd, 0, value);
    if (!known) write_event("found " + name + " device=" + std::to_string(device));
    return name;
  }

  std::string name_of(const Leaf& leaf, std::uint64_t value, int device, const Aliases::Known& fresh) {
    if (leaf.kind == Kind::kPid) {
      if (value == static_cast<std::uint64_t>(pid_)) return "self";
      return aliases_.of(leaf.kind, 0, value);
    }
    Aliases::Known known = fresh;
    if (leaf.kind == Kind::kHandle) known.bytes = known.owner = 0;
    return aliases_.of(leaf.kind, leaf.kind == Kind::kFd ? 0 : device, value, known);
  }

  void add_fields(const std::vector<Leaf>& fields, int device, bool out, const Aliases::Known& fresh, std::string& text,
                  std::string& data) {
    for (const Leaf& leaf : fields) {
      if (leaf.out != out) continue;
      text += " " + leaf.name + "=" +
              leaf_text(leaf, [&](const Leaf& of, std::uint64_t value) { return name_of(of, value, device, fresh); });
      if (payload_ && leaf.kind == Kind::kPayload && leaf.address != 0) add_data(leaf, data);
    }
  }

  /// Lines of zeros are left out: that is how they are read.
  void add_data(const Leaf& leaf, std::string& data) {
    std::array<char, 65536> block;
    for (std::uint64_t at = 0; at < leaf.count; at += block.size()) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), leaf.count - at));
      if (copy_from_user(block.data(), leaf.address + at, size) != 0) return;
      for (std::size_t line = 0; line < size; line += kPayloadLine) {
        const std::string_view bytes(block.data() + line, std::min(kPayloadLine, size - line));
        if (bytes.find_first_not_of('\0') == std::string_view::npos) continue;
        data += prefix() + "data " + leaf.name + "+" + hex_number(at + line) + " " +
                hex_bytes(bytes.data(), bytes.size()) + "\n";
      }
    }
  }

  /// What the driver has answered, and what that says about handles and addresses.
  void add_results(const RequestDescription& known, const void* argument, int device, std::string& text,
                   std::string& data) {
    const std::vector<Leaf> all = leaves(known, argument);
    Aliases::Known fresh;
    std::uint64_t handle = 0;
    bool handle_is_new = false;
    for (const Leaf& leaf : all) {
      if (leaf.kind == Kind::kHandle && !leaf.list && read_number(leaf, 0, handle)) handle_is_new = leaf.out;
      if (leaf.name == "size") read_number(leaf, 0, fresh.bytes);
    }
    name_bars(all, device);
    fresh.owner = handle;
    const std::string_view name = known.name;
    if (name.starts_with("NOTIFICATIONS_INIT")) fresh.origin = Origin::kNotifications;
    if (name == "ACQUIRE_NEURON_DS") fresh.origin = Origin::kDatastore;
    const auto key = std::make_pair(device, handle);
    if (handle_is_new) sizes_[key] = fresh.bytes;
    if (const auto size = sizes_.find(key); size != sizes_.end() && fresh.bytes == 0) fresh.bytes = size->second;
    add_fields(all, device, true, fresh, text, data);
  }

  /// DEVICE_INFO: registers are at addresses within the BARs, which differ from boot to boot.
  void name_bars(const std::vector<Leaf>& fields, int device) {
    const auto named = [&](std::string_view name) {
      return std::find_if(fields.begin(), fields.end(), [&](const Leaf& leaf) { return leaf.name == name; });
    };
    const auto addresses = named("bar_address"), sizes = named("bar_size");
    if (addresses == fields.end() || sizes == fields.end()) return;
    for (std::uint64_t i = 0; i < addresses->count; ++i) {
      std::uint64_t address = 0, bytes = 0;
      if (read_number(*addresses, i, address) && read_number(*sizes, i, bytes))
        aliases_.of(Kind::kAddress, device, address, {0, bytes, 0, Origin::kMemory});
    }
  }

  void forget(const std::vector<Leaf>& fields, int device) {
    for (const Leaf& leaf : fields) {
      std::uint64_t value = 0;
      if (!read_number(leaf, 0, value)) continue;
      if (leaf.kind == Kind::kHandle) {
        aliases_.forget(device, value);
        sizes_.erase({device, value});
      } else if (leaf.kind == Kind::kMmapOffset) {
        aliases_.forget(Kind::kMmapOffset, device, value);
      }
    }
  }

  std::unique_ptr<Provider> inner_;
  RecordFile file_;
  bool payload_ = false;
  static inline std::atomic<Recorder*> active_ = nullptr;  ///< the one that records, for fork and exit
  static inline std::once_flag watched_;

  std::mutex mutex_;  ///< for everything below
  pid_t pid_ = 0;
  unsigned process_ = 0, last_map_ = 0;
  std::map<long, unsigned> threads_;                              ///< by tid
  std::map<std::pair<int, std::uint64_t>, std::uint64_t> sizes_;  ///< bytes of memory, by device and handle
  std::map<std::string, std::string> facts_;                      ///< last text, by path
  Aliases aliases_;
  FollowedMemory memory_;
  std::string last_line_;  ///< that may be folded
  std::uint64_t repeats_ = 0;
  std::atomic<bool> mapped_{false};  ///< there has been a mapping: munmap concerns us
};

}  // namespace

std::unique_ptr<Provider> make_recorder(std::unique_ptr<Provider> inner, std::string path) {
  return std::make_unique<Recorder>(std::move(inner), std::move(path));
}

}  // namespace opennrt::emulator
