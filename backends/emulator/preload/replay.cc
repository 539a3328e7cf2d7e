// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/replay.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>

#include "backends/emulator/preload/copy.h"
#include "backends/emulator/preload/describe.h"
#include "backends/emulator/preload/replay_names.h"
#include "backends/emulator/preload/replay_script.h"
#include "backends/emulator/preload/system.h"
#include "backends/emulator/preload/transcript.h"

namespace opennrt::emulator {
namespace {

/// A descriptor of a replayed device is a memory file of this name and the device's number: any process that has it
/// knows it.
constexpr char kFilePrefix[] = "opennrt-replay-neuron";
constexpr char kVersionFile[] = "/sys/module/neuron/version";

long current_thread() {
  return system_call(SYS_gettid);
}

/// The whole of a file; false: it cannot be read.
bool read_whole(const std::string& path, std::string& text) {
  const auto fd = static_cast<int>(system_call(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd < 0) return false;
  std::array<char, 65536> buffer;
  long n = 0;
  while ((n = system_call(SYS_read, fd, buffer.data(), buffer.size())) > 0)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  system_call(SYS_close, fd);
  return n == 0;
}

class Replayer final : public Provider {
 public:
  explicit Replayer(std::string path) : path_(std::move(path)) {
    std::string text;
    if (!read_whole(path_, text)) {
      stop(path_ + ": cannot be read");
      return;
    }
    auto parsed = parse_transcript(text);
    if (!parsed) {
      stop(parsed.error().text(path_));
      return;
    }
    transcript_ = std::move(*parsed);
    learn_files();
  }

  int open(int device, int flags) override {
    return static_cast<int>(answer([&] {
      const std::string call = "open device=" + std::to_string(device) + " flags=" + open_flags_text(flags);
      const Step* step = find(call, [&](const Step& one) { return one.event->text == who(one) + call; });
      if (step == nullptr) return long{-EIO};
      const std::string& outcome = step->event->out.front().text;
      long result = 0;
      if (!parse_result(outcome, result)) {
        const std::string name = kFilePrefix + std::to_string(device);
        result = system_call(SYS_memfd_create, name.c_str(), (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0u);
        if (result >= 0) names_.bind_fd(outcome, static_cast<std::uint64_t>(result));
      }
      return done(*step, result);
    }));
  }

  int device_of(int fd) override {
    const std::string link = "/proc/self/fd/" + std::to_string(fd), start = std::string("/memfd:") + kFilePrefix;
    std::array<char, PATH_MAX> target;
    const long length = system_call(SYS_readlinkat, AT_FDCWD, link.c_str(), target.data(), target.size());
    std::string_view name(target.data(), static_cast<std::size_t>(std::max(length, 0L)));
    std::uint64_t device = 0;
    if (!name.starts_with(start)) return -1;
    name.remove_prefix(start.size());
    return parse_number(name.substr(0, name.find(' ')), device) ? static_cast<int>(device) : -1;
  }

  int ioctl(int fd, unsigned long request, void* argument) override {
    return static_cast<int>(answer([&] {
      const RequestDescription* known = describe(request);
      const std::vector<Leaf> fields = known != nullptr ? leaves(*known, argument) : std::vector<Leaf>();
      const std::string name = known != nullptr ? known->name : "request=" + hex_number(request);
      std::string call = "ioctl " + names_.name(Kind::kFd, static_cast<std::uint64_t>(fd)) + " " + name;
      for (const Leaf& leaf : fields)
        if (!leaf.out) call += " " + leaf.name + "=" + shown(leaf);
      const Step* step =
          find(call, [&](const Step& one) { return fits_ioctl(*one.event, fd, known, request, fields); });
      if (step == nullptr) return long{-EIO};
      long result = 0;
      parse_result(step->event->out.front().text, result);
      if (known != nullptr) fill(*known, argument, *step);
      return done(*step, result);
    }));
  }

  void* mmap(void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) override {
    const long at = answer([&] {
      const std::string rest = mmap_text(bytes, protection, flags);
      const auto position = static_cast<std::uint64_t>(offset);
      const std::string call = "mmap " + names_.name(Kind::kFd, static_cast<std::uint64_t>(fd)) +
                               " offset=" + names_.name(Kind::kMmapOffset, position) + " " + rest;
      const Step* step = find(call, [&](const Step& one) {
        const Event& event = *one.event;
        if (event.verb != Verb::kMmap || !event.text.ends_with(" " + rest)) return false;
        ReplayNames::Taking taking;
        const bool fits =
            fits_fd(event, fd, taking) && names_.accepts(Kind::kMmapOffset, event.in[1].text, position, taking);
        if (fits) names_.bind(taking);
        return fits;
      });
      if (step == nullptr) return long{-EIO};
      const std::string& outcome = step->event->out.front().text;
      long result = 0;
      if (!parse_result(outcome, result)) {
        // Shared, so that it stays what it is over a fork; writable, since what the device wrote then is written by us.
        result = system_call(SYS_mmap, address, bytes, protection | PROT_WRITE,
                             (flags & ~MAP_TYPE) | MAP_SHARED | MAP_ANONYMOUS, -1, 0L);
        if (result >= 0) maps_[outcome] = {static_cast<std::uint64_t>(result), bytes};
      }
      return done(*step, result);
    });
    if (at >= 0) return reinterpret_cast<void*>(at);
    errno = static_cast<int>(-at);
    return MAP_FAILED;
  }

  void unmapping(void* address, std::size_t bytes) override {
    const std::lock_guard lock(mutex_);
    const auto first = reinterpret_cast<std::uintptr_t>(address);
    std::erase_if(maps_, [&](const auto& entry) {
      const auto& [at, size] = entry.second;
      return at < first + bytes && first < at + size;
    });
  }

  void closing(int fd) override {
    answer([&] {
      const std::string call = "close " + names_.name(Kind::kFd, static_cast<std::uint64_t>(fd));
      const Step* step = find(call, [&](const Step& one) {
        ReplayNames::Taking taking;
        const bool fits = one.event->verb == Verb::kClose && fits_fd(*one.event, fd, taking);
        if (fits) names_.bind(taking);
        return fits;
      });
      return step == nullptr ? 0L : done(*step, 0);
    });
  }

  std::optional<std::string> file(const std::string& path) override {
    const std::lock_guard lock(mutex_);
    const auto known = files_.find(path);
    if (known == files_.end()) return std::nullopt;
    auto& [contents, at] = known->second;
    return contents[std::min(at++, contents.size() - 1)];
  }

  std::optional<std::vector<std::string>> folder(const std::string& path) override {
    const auto known = folders_.find(path);
    return known == folders_.end() ? std::nullopt : std::make_optional(known->second);
  }

 private:
  /// One call at a time, each in a process whose part is known; what runs out of memory is an ENOMEM.
  template <typename Call>
  long answer(const Call& call) {
    const KeepErrno keep;
    try {
      active_ = this;
      std::call_once(watched_, [] {
        pthread_atfork([] { active_.load()->mutex_.lock(); }, [] { active_.load()->mutex_.unlock(); },
                       [] { active_.load()->mutex_.unlock(); });
      });
      const std::lock_guard lock(mutex_);
      if (!stopped_) begin();
      return stopped_ ? -EIO : call();
    } catch (...) {
      return -ENOMEM;
    }
  }

  void begin() {
    const auto pid = static_cast<pid_t>(system_call(SYS_getpid));
    if (pid == pid_) return;
    const unsigned number = process_number();
    if (number == 0) return;
    pid_ = pid;
    process_ = number;
    maps_.clear();
    script_.emplace(transcript_, process_);
    script_->start([this](const Event& memory) { deliver(memory); });
  }

  /// Processes are told apart by the order of their first calls.
  unsigned process_number() {
    const char* state = std::getenv(kReplayStateVariable);
    if (state == nullptr || *state == 0) {
      if (pid_ == 0) return 1;
      stop(std::string("a second process: run the program with `opennrt ioctl replay`, which counts them"));
      return 0;
    }
    const auto fd = static_cast<int>(system_call(SYS_openat, AT_FDCWD, state, O_RDWR | O_APPEND | O_CLOEXEC));
    system_call(SYS_flock, fd, LOCK_EX);
    const long wrote = system_call(SYS_write, fd, ".", 1ul);
    const long number = wrote == 1 ? system_call(SYS_lseek, fd, 0L, SEEK_END) : 0;
    if (fd >= 0) system_call(SYS_close, fd);
    if (number <= 0)
      stop(std::string(kReplayStateVariable) + " is '" + state + "', expected a file that can be written");
    return number <= 0 ? 0 : static_cast<unsigned>(number);
  }

  /// The step that this call is, or null after a diagnosis.
  const Step* find(const std::string& call, const Script::Fits& fits) {
    const Step* step = script_->next(current_thread(), fits);
    if (step != nullptr) return step;
    const Event* expected = script_->expected(current_thread());
    std::string text = path_ + ":";
    if (expected != nullptr) {
      text += std::to_string(expected->line) + ": expected '" + expected->text.substr(expected->text.find(' ') + 1);
    } else {
      text += " process " + std::to_string(process_) + ": expected '(nothing more from this thread)";
    }
    stop(text + "', the program did '" + call + "'");
    return nullptr;
  }

  long done(const Step& step, long result) {
    script_->taken(step, [this](const Event& memory) { deliver(memory); });
    return result;
  }

  static std::string who(const Step& step) { return step.event->text.substr(0, step.event->text.find(' ') + 1); }

  bool fits_fd(const Event& event, int fd, ReplayNames::Taking& taking) const {
    return names_.accepts(Kind::kFd, event.in[0].text, static_cast<std::uint64_t>(fd), taking);
  }

  bool fits_ioctl(const Event& event, int fd, const RequestDescription* known, unsigned long request,
                  const std::vector<Leaf>& fields) {
    ReplayNames::Taking taking;
    if (event.verb != Verb::kIoctl || !fits_fd(event, fd, taking)) return false;
    const Word& name = event.in[1];
    if (known == nullptr) return name.name == "request" && name.text == hex_number(request);
    if (!name.name.empty() || name.text != known->name) return false;
    std::size_t words = 2;
    for (const Leaf& leaf : fields) {
      if (leaf.out) continue;
      const Word* word = event.find_in(leaf.name);
      if (word == nullptr || !fits_field(leaf, *word, taking)) return false;
      ++words;
    }
    if (words != event.in.size()) return false;
    names_.bind(taking);
    return true;
  }

  bool fits_field(const Leaf& leaf, const Word& word, ReplayNames::Taking& taking) const {
    std::uint64_t value = 0;
    if (renamed(leaf.kind) && !leaf.list && read_number(leaf, 0, value))
      return names_.accepts(leaf.kind, word.text, value, taking);
    if (renamed(leaf.kind) && leaf.list && leaf.address != 0) {
      std::vector<std::string> items;
      if (!parse_list(word.text, items) || items.size() != leaf.count) return false;
      for (std::size_t i = 0; i < items.size(); ++i)
        if (!read_number(leaf, i, value) || !names_.accepts(leaf.kind, items[i], value, taking)) return false;
      return true;
    }
    const std::string text = shown(leaf);
    return text == word.text || (leaf.kind == Kind::kText && text == quoted(word.text));
  }

  std::string shown(const Leaf& leaf) const {
    return leaf_text(leaf, [this](const Leaf& of, std::uint64_t value) { return names_.name(of.kind, value); });
  }

  /// Gives the program what the driver gave then. Lists may be as long as a field says that is given itself: twice.
  void fill(const RequestDescription& known, void* argument, const Step& step) {
    std::set<std::string> filled;
    for (int round = 0; round < 2; ++round) {
      for (const Leaf& leaf : leaves(known, argument)) {
        if (!leaf.out || leaf.address == 0) continue;
        const Word* word = step.event->find_out(leaf.name);
        if (word != nullptr && filled.insert(leaf.name).second) fill_leaf(leaf, *word, step);
      }
    }
  }

  void fill_leaf(const Leaf& leaf, const Word& word, const Step& step) {
    std::uint64_t value = 0;
    if (leaf.kind == Kind::kPayload || leaf.kind == Kind::kSecret) {
      fill_payload(leaf, step);
    } else if (leaf.kind == Kind::kText) {
      std::string bytes = word.text;
      bytes.resize(leaf.size);
      copy_to_user(leaf.address, bytes.data(), bytes.size());
    } else if (!leaf.list) {
      if (names_.value(leaf.kind, word.text, value)) write_number(leaf, 0, value);
    } else {
      std::vector<std::string> items;
      if (!parse_list(word.text, items)) return;
      for (std::size_t i = 0; i < std::min<std::uint64_t>(items.size(), leaf.count); ++i)
        if (names_.value(leaf.kind, items[i], value)) write_number(leaf, i, value);
    }
  }

  void fill_payload(const Leaf& leaf, const Step& step) {
    const std::string zeros(static_cast<std::size_t>(std::min<std::uint64_t>(leaf.count, 65536)), '\0');
    for (std::uint64_t at = 0; at < leaf.count; at += zeros.size()) {
      const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), leaf.count - at));
      if (copy_to_user(leaf.address + at, zeros.data(), part) != 0) return;
    }
    if (!transcript_.payload && leaf.kind == Kind::kPayload && leaf.count != 0) {
      say_once(step.event->line, leaf.name + " (" + left_out(leaf.count) +
                                     ") was not recorded (opennrt ioctl record --payload) and reads as zeros, as do "
                                     "all others");
    }
    for (const Event* data : step.data) {
      const std::string& where = data->in[0].text;
      const std::size_t plus = where.rfind('+');
      std::uint64_t offset = 0;
      std::string bytes;
      if (where.substr(0, plus) != leaf.name || plus == std::string::npos ||
          !parse_number(std::string_view(where).substr(plus + 1), offset) ||
          !parse_hex_bytes(data->in[1].text, bytes) || offset >= leaf.count)
        continue;
      copy_to_user(leaf.address + offset, bytes.data(),
                   static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), leaf.count - offset)));
    }
  }

  /// What the device wrote: the last word of a piece comes last (two system calls), since programs look there for the news.
  void deliver(const Event& memory) {
    std::string alias, bytes;
    std::uint64_t number = 0, offset = 0;
    if (!parse_alias(memory.in[0].text, alias, number, offset) || !parse_hex_bytes(memory.in[1].text, bytes)) return;
    const auto map = maps_.find(alias);
    if (map == maps_.end() || offset + bytes.size() > map->second.second) return;
    const std::uint64_t address = map->second.first + offset;
    const std::size_t last = bytes.size() > 8 ? bytes.size() - 8 : 0;
    copy_to_user(address, bytes.data(), last);
    copy_to_user(address + last, bytes.data() + last, bytes.size() - last);
  }

  void learn_files() {
    if (!transcript_.driver.empty()) files_[kVersionFile].first.push_back(transcript_.driver + "\n");
    std::set<std::uint64_t> devices;
    std::set<std::string> seen;
    for (const Event& event : transcript_.events) {
      std::uint64_t device = 0;
      const Word* number = event.find_in("device");
      const bool opened = event.verb == Verb::kOpen && event.out.front().text.starts_with("fd");
      if ((opened || event.verb == Verb::kFound) && number != nullptr && parse_number(number->text, device))
        devices.insert(device);
      if (event.verb == Verb::kFile) {
        auto& contents = files_[event.in[0].text].first;
        if (seen.insert(event.in[0].text).second) contents.clear();
        contents.push_back(event.out.front().text);
      }
      if (event.verb == Verb::kFolder) {
        std::vector<std::string> names;
        for (const Word& word : event.out) names.push_back(word.text);
        folders_[event.in[0].text] = std::move(names);
      }
    }
    if (folders_.contains("/dev")) return;
    for (const std::uint64_t device : devices) folders_["/dev"].push_back("neuron" + std::to_string(device));
  }

  void say(const std::string& text) {
    const std::string line = "opennrt ioctl replay: " + text + "\n";
    system_call(SYS_write, STDERR_FILENO, line.data(), line.size());
  }
  void say_once(std::size_t line, const std::string& text) {
    if (!std::exchange(said_, true)) say(path_ + ":" + std::to_string(line) + ": " + text);
  }
  void stop(const std::string& text) {
    stopped_ = true;
    say(text);
  }

  const std::string path_;
  Transcript transcript_;
  std::map<std::string, std::vector<std::string>> folders_;
  static inline std::atomic<Replayer*> active_ = nullptr;  ///< the one that replays, for fork
  static inline std::once_flag watched_;

  std::mutex mutex_;  ///< for everything below
  bool stopped_ = false, said_ = false;
  pid_t pid_ = 0;
  unsigned process_ = 0;
  std::map<std::string, std::pair<std::vector<std::string>, std::size_t>> files_;  ///< contents, and which comes next
  std::optional<Script> script_;
  ReplayNames names_;
  std::map<std::string, std::pair<std::uint64_t, std::size_t>> maps_;  ///< address and bytes, by alias
};

}  // namespace

std::unique_ptr<Provider> make_replayer(std::string path) {
  return std::make_unique<Replayer>(std::move(path));
}

}  // namespace opennrt::emulator
