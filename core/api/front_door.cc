// SPDX-License-Identifier: Apache-2.0
//
// What clients call: every function of the C API, each of which leads on to whoever answers it. One load and one jump
// when nobody watches.
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include <opennrt/marker.h>

#include "core/api/call.h"
#include "core/api/door_call.h"
#include "core/api/door_faults.h"
#include "core/api/route.h"
#include "core/observe/calls.h"

namespace opennrt::api {
namespace {

namespace calls = opennrt::observe::calls;

struct Described {
  const char* name;
  std::string_view arguments;  ///< "(model, input_set)"
};
constexpr Described kFunctions[] = {
#define OPENNRT_FUNCTION(result, name, parameters, arguments) {#name, #arguments},
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION
};
constexpr std::size_t kCount = std::size(kFunctions);

constexpr std::array<const char*, kCount> names_of() {
  std::array<const char*, kCount> names{};
  for (std::size_t i = 0; i < kCount; ++i) names[i] = kFunctions[i].name;
  return names;
}
constexpr std::array<const char*, kCount> kNames = names_of();

constexpr bool sorted() {
  for (std::size_t i = 1; i < kCount; ++i)
    if (!(std::string_view(kNames[i - 1]) < std::string_view(kNames[i]))) return false;
  return true;
}
static_assert(sorted(), "self_binding.h searches the names");

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

/// A call as the record has it, in a buffer of its own. Only scalars are written out: what a pointer leads to may be
/// secret, and where it points differs from run to run.
class Text {
 public:
  template <typename... A>
  explicit Text(const Described& function, A... values) {
    [[maybe_unused]] std::string_view rest = function.arguments.substr(1, function.arguments.size() - 2);
    add(function.name);
    add("(");
    [[maybe_unused]] std::size_t index = 0;
    (argument(rest, values, index++), ...);
    add(")");
  }
  template <typename R>
  void result(R value) {
    add(" = ");
    if constexpr (std::is_same_v<R, NRT_STATUS>) {
      add(native::nrt_get_status_as_str(value));
    } else {
      put(value);
    }
  }
  std::string_view view() const { return {buffer_.data(), used_}; }

 private:
  void add(std::string_view text) { used_ += text.copy(buffer_.data() + used_, buffer_.size() - used_); }
  template <typename A>
  void argument(std::string_view& names, const A& value, std::size_t index) {
    if (index > 0) add(", ");
    const std::size_t comma = names.find(", ");
    add(names.substr(0, comma));
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 2);
    add("=");
    put(value);
  }
  template <typename A>
  void put(const A& value) {
    if constexpr (std::is_pointer_v<A>) {
      add(value == nullptr ? "NULL" : "*");
    } else {
      fmt::memory_buffer number;  // on the stack
      if constexpr (std::is_enum_v<A>) {
        fmt::format_to(fmt::appender(number), "{}", raw(value));
      } else {
        fmt::format_to(fmt::appender(number), "{}", value);
      }
      add({number.data(), number.size()});
    }
  }

  std::array<char, 768> buffer_;
  std::size_t used_ = 0;
};

template <typename R>
bool failed([[maybe_unused]] R result) {
  if constexpr (std::is_same_v<R, NRT_STATUS>) {
    return result != NRT_SUCCESS && result != NRT_QUEUE_EMPTY;
  } else {
    return false;
  }
}

std::atomic<bool> init_is_watched{false};

/// The way of one function, from its exported symbol to whoever answers.
template <Function kFunction, auto kNative, typename Type>
class Way;
template <Function kFunction, auto kNative, typename R, typename... A>
class Way<kFunction, kNative, R (*)(A...)> {
  static constexpr Described kDescribed = kFunctions[static_cast<std::size_t>(kFunction)];
  static constexpr std::size_t kIndex = static_cast<std::size_t>(kFunction);
  static constexpr bool kIsInit = kFunction == Function::nrt_init;
  static constexpr bool kIsClose = kFunction == Function::nrt_close;
  /// Functions whose failure is not told by a status: those that this library answers where another one cannot.
  static constexpr bool kAlwaysOwn =
      kFunction == Function::nrt_get_status_as_str || kFunction == Function::nrt_get_libnccl_net;
  using Target = R (*)(A...);

 public:
  static R enter(A... arguments) { return target_.load(std::memory_order_acquire)(arguments...); }

  static void lead(const vendor::Library* library, bool is_watched) {
    Target to = kNative;
    if (library != nullptr) {
      to = reinterpret_cast<Target>(library->symbol(kDescribed.name));
      if (to == nullptr) to = kAlwaysOwn ? Target(kNative) : Target(&missing);
    }
    destination_.store(to, std::memory_order_release);
    if (kIsClose) to = &turning_point;
    if (is_watched) to = &watched;
    if (kIsInit) {
      init_is_watched.store(is_watched, std::memory_order_release);
      to = &decide;
    }
    target_.store(to, std::memory_order_release);
  }

  /// The call itself, not watched.
  static R answer(A... arguments) {
    return (kIsInit || kIsClose ? &turning_point : destination_.load(std::memory_order_acquire))(arguments...);
  }

 private:
  /// Until somebody has decided who answers.
  static R first(A... arguments) {
    if (const Status chosen = Route::current().choose(Route::Moment::kFirstCall); !chosen)
      return refused(chosen.error(), arguments...);
    return enter(arguments...);
  }

  /// Every call of nrt_init may change who answers and who watches.
  static R decide(A... arguments) {
    if (const Status chosen = Route::current().choose(Route::Moment::kInit); !chosen)
      return refused(chosen.error(), arguments...);
    return (init_is_watched.load(std::memory_order_acquire) ? &watched : &turning_point)(arguments...);
  }

  /// The one place that every watched call passes, on its way in and out.
  static R watched(A... arguments) {
    if (!calls::timed()) {
      const auto result = through(arguments...);
      calls::count(kIndex, failed(result));
      return finish(result);
    }
    const std::uint64_t begin = now_ns();
    const auto result = through(arguments...);
    const std::uint64_t end = now_ns();
    if (calls::recording()) {
      Text text(kDescribed, arguments...);
      if constexpr (!std::is_void_v<R>) text.result(result);
      calls::time(kIndex, failed(result), begin, end, text.view());
    } else {
      calls::time(kIndex, failed(result), begin, end, {});
    }
    return finish(result);
  }

  /// The call, and the faults that a plan has for it.
  static auto through(A... arguments) {
    DoorFaults* faults = DoorFaults::current();
    if (faults == nullptr) [[likely]]
      return value_of<R, A...>(&answer, arguments...);
    return faulted<kFunction, R, A...>(*faults, kDescribed.name, kDescribed.arguments, &answer, arguments...);
  }

  template <typename Result>
  static R finish(Result result) {
    if constexpr (std::is_same_v<R, NRT_STATUS>) {
      if (failed(result)) [[unlikely]]
        log_failure(result);
    }
    if constexpr (kIsClose) Route::current().write_stats();
    if constexpr (!std::is_void_v<R>) return result;
  }

  /// nrt_init and nrt_close.
  static R turning_point(A... arguments) {
    Route& route = Route::current();
    const Target to = destination_.load(std::memory_order_acquire);
    if constexpr (kIsInit) {
      const R result = to(arguments...);
      route.opened(result == NRT_SUCCESS);
      return result;
    } else if constexpr (kIsClose) {
      to(arguments...);
      route.closed();
    } else {
      return to(arguments...);
    }
  }

  static R missing([[maybe_unused]] A... arguments) {
    static std::atomic<bool> told{false};
    const vendor::Library* library = Route::current().library();
    if (library != nullptr && !told.exchange(true, std::memory_order_relaxed)) {
      observe::log(observe::Component::kNrt, observe::Level::kWarn, kDescribed.name,
                   "not supported: the vendor's library has no such function ({})", library->describe());
    }
    return status_or_nothing(ErrorCode::kUnsupported);
  }

  static R refused([[maybe_unused]] const Error& error, [[maybe_unused]] A... arguments) {
    // It answers all the same, and whoever calls nrt_init is told.
    if constexpr (kAlwaysOwn) {
      return kNative(arguments...);
    } else {
      (void)fail(kDescribed.name, error);
      return status_or_nothing(error.code);
    }
  }

  static R status_or_nothing([[maybe_unused]] ErrorCode code) {
    if constexpr (std::is_same_v<R, NRT_STATUS>) {
      return to_status(code);
    } else if constexpr (!std::is_void_v<R>) {
      return R{};
    }
  }

  static void log_failure(NRT_STATUS result) {
    const vendor::Library* library = Route::current().library();
    if (library == nullptr) return;  // this library has said why
    observe::log(observe::Component::kNrt, observe::Level::kDebug, kDescribed.name,
                 "the vendor's library answers {} ({})", native::nrt_get_status_as_str(result),
                 static_cast<int>(result));
  }

  static inline std::atomic<Target> target_{&first};
  static inline std::atomic<Target> destination_{kNative};
};

template <Function kFunction, auto kNative>
using WayOf = Way<kFunction, kNative, decltype(kNative)>;

}  // namespace

std::span<const char* const> function_names() {
  return kNames;
}

#define OPENNRT_FUNCTION(result, name, parameters, arguments)      \
  result behind::name parameters {                                 \
    return WayOf<Function::name, &native::name>::answer arguments; \
  }
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION

void lead_all(const vendor::Library* library, bool watched) {
#define OPENNRT_FUNCTION(result, name, parameters, arguments) \
  WayOf<Function::name, &native::name>::lead(library, watched);
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION
}

}  // namespace opennrt::api

#define OPENNRT_FUNCTION(result, name, parameters, arguments)                                               \
  extern "C" result name parameters {                                                                       \
    return opennrt::api::WayOf<opennrt::api::Function::name, &opennrt::api::native::name>::enter arguments; \
  }
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION

extern "C" __attribute__((visibility("default"))) void opennrt_marker(const char* name) {
  using opennrt::api::DoorFaults;
  using opennrt::api::Route;
  if (name == nullptr) return;
  // The plan is read at the first call of all, and this may be it.
  if (!Route::current().decided()) (void)Route::current().choose(Route::Moment::kFirstCall);
  if (DoorFaults* faults = DoorFaults::current(); faults != nullptr) faults->marker(name);
}
