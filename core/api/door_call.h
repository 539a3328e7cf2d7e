// SPDX-License-Identifier: Apache-2.0
//
// One call under a fault plan, for each function by its own types: what the call is about, what it gives the client and how
// that is taken back. Who decides is door_faults.h.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/api/call.h"
#include "core/api/door_faults.h"
#include "core/api/route.h"
#include "core/neff/neff.h"

namespace opennrt::api {

/// The functions as whoever answers does them, past the front door (front_door.cc).
namespace behind {
#define OPENNRT_FUNCTION(result, name, parameters, arguments) result name parameters;
#include "core/api/functions.inc"
#undef OPENNRT_FUNCTION
}  // namespace behind

/// Stands for the result of a function that has none.
struct Nothing {};
template <typename R, typename... A>
auto value_of(R (*function)(A...), A... arguments) {
  if constexpr (std::is_void_v<R>) {
    function(arguments...);
    return Nothing{};
  } else {
    return function(arguments...);
  }
}

constexpr bool loads_model(Function function) {
  return function == Function::nrt_load || function == Function::nrt_load_collectives;
}
/// Gives the client an object, by its last argument.
constexpr bool gives_object(Function function) {
  return loads_model(function) || function == Function::nrt_tensor_allocate ||
         function == Function::nrt_tensor_allocate_empty || function == Function::nrt_tensor_allocate_slice ||
         function == Function::nrt_allocate_tensor_set;
}
/// Takes one back, by its first argument.
constexpr bool takes_object(Function function) {
  return function == Function::nrt_unload || function == Function::nrt_tensor_free ||
         function == Function::nrt_destroy_tensor_set;
}
/// What it has begun, or given, cannot be taken back: "after" is "instead" for these.
constexpr bool cannot_be_undone(Function function) {
  switch (function) {
    case Function::nrt_async_sendrecv_accept:
    case Function::nrt_async_sendrecv_connect:
    case Function::nrt_async_sendrecv_recv_tensor:
    case Function::nrt_async_sendrecv_send_tensor:
    case Function::nrt_get_dmabuf_fd:
    case Function::nrt_get_hbm_mmap_va:
    case Function::nrta_cc_prepare:
    case Function::nrta_cc_schedule:
    case Function::nrta_execute_schedule:
    case Function::nrta_tensor_copy:
    case Function::nrta_tensor_read:
    case Function::nrta_tensor_write:
      return true;
    default:
      return false;
  }
}

template <typename... A>
auto& last_of(std::tuple<A...>& arguments) {
  return std::get<sizeof...(A) - 1>(arguments);
}

template <typename T>
const void* handle_of(T* const& handle) {
  return handle;
}
template <typename T>
const void* handle_of(T** const& handle) {
  return handle == nullptr ? nullptr : *handle;
}

/// `names`: "(model, input_set)".
template <Function kFunction, typename... A>
CallSubject subject_of(const DoorFaults& faults, std::string_view names, const A&... arguments) {
  CallSubject subject;
  names = names.substr(1, names.size() - 2);
  [[maybe_unused]] const auto look = [&]<typename T>(const T& value) {
    const std::string_view name = names.substr(0, names.find(", "));
    names.remove_prefix(std::min(names.size(), name.size() + 2));
    using Named = std::remove_const_t<std::remove_pointer_t<T>>;
    if constexpr (std::is_same_v<T, const char*>) {
      if (value != nullptr && (name == "name" || name == "tensor_name")) subject.tensor = value;
    } else if constexpr (std::is_same_v<Named, nrt_tensor_t>) {
      if (subject.tensor.empty()) subject.tensor = faults.name_of(value);
    } else if constexpr (std::is_same_v<Named, nrt_model_t>) {
      subject.model = faults.name_of(value);
    } else if constexpr (kFunction == Function::nrt_tensor_free) {
      subject.tensor = faults.name_of(handle_of(value));
    }
  };
  (look(arguments), ...);
  if constexpr (loads_model(kFunction)) {
    const std::tuple<const A&...> all(arguments...);
    const auto* bytes = static_cast<const std::byte*>(std::get<0>(all));
    subject.bytes = std::get<1>(all);
    if (bytes != nullptr)
      if (const auto header = neff::parse_header({bytes, std::get<1>(all)}); header) subject.model = header->name;
  } else if constexpr (kFunction == Function::nrt_tensor_allocate) {
    subject.bytes = std::get<2>(std::tuple<const A&...>(arguments...));
  }
  return subject;
}

/// What the client's variables held before the call wrote its results there.
template <typename... A>
class Outputs {
 public:
  explicit Outputs(const A&... arguments) : places_(arguments...), before_(read(arguments)...) {}
  void restore() { restore(std::index_sequence_for<A...>{}); }

 private:
  template <typename T>
  static constexpr bool kIsOutput =
      std::is_pointer_v<T> && !std::is_const_v<std::remove_pointer_t<T>> && std::is_scalar_v<std::remove_pointer_t<T>>;
  template <typename T>
  struct BytesOf {
    using type = Nothing;
  };
  template <typename T>
  requires kIsOutput<T>
  struct BytesOf<T> {
    // NOLINTNEXTLINE(bugprone-sizeof-expression): where a pointer is put, its own bytes are meant
    using type = std::array<std::byte, sizeof(std::remove_pointer_t<T>)>;
  };
  template <typename T>
  static auto read(const T& place) {
    typename BytesOf<T>::type bytes{};
    if constexpr (kIsOutput<T>)
      if (place != nullptr) std::memcpy(bytes.data(), place, bytes.size());
    return bytes;
  }
  template <std::size_t... kIndex>
  void restore(std::index_sequence<kIndex...>) {
    [[maybe_unused]] const auto one = [](auto place, const auto& bytes) {
      if constexpr (kIsOutput<decltype(place)>)
        if (place != nullptr) std::memcpy(place, bytes.data(), bytes.size());
    };
    (one(std::get<kIndex>(places_), std::get<kIndex>(before_)), ...);
  }
  std::tuple<A...> places_;
  std::tuple<typename BytesOf<A>::type...> before_;
};

/// Takes back what a successful call has given: the client will not know of it.
template <Function kFunction, typename... A>
void undo(DoorFaults& faults, A... arguments) {
  [[maybe_unused]] const auto free_names = [&](auto free_array) {
    std::tuple<A...> all(arguments...);
    if constexpr (sizeof...(A) >= 2) {
      const auto array = std::get<sizeof...(A) - 2>(all);
      if constexpr (std::is_same_v<decltype(array), const char*** const>) free_array(*array, *last_of(all));
    }
  };
  [[maybe_unused]] const auto one = [&]<typename T>(T place) {
    if constexpr (std::is_same_v<T, nrt_model_t**>) {
      (void)faults.remove(*place);
      (void)behind::nrt_unload(*place);
    } else if constexpr (std::is_same_v<T, nrt_tensor_t**> && gives_object(kFunction)) {
      (void)faults.remove(*place);
      behind::nrt_tensor_free(place);
    } else if constexpr (std::is_same_v<T, nrt_tensor_set_t**>) {
      (void)faults.remove(*place);
      behind::nrt_destroy_tensor_set(place);
    } else if constexpr (std::is_same_v<T, nrt_tensor_info_array_t**>) {
      (void)behind::nrt_free_model_tensor_info(*place);
    } else if constexpr (std::is_same_v<T, nrt_inspect_config_t**>) {
      (void)behind::nrt_inspect_config_free(*place);
    } else if constexpr (std::is_same_v<T, nrt_profile_continuous_options_t**>) {
      (void)behind::nrt_profile_continuous_options_free(*place);
    } else if constexpr (std::is_same_v<T, nrt_sys_trace_config_t**>) {
      behind::nrt_sys_trace_config_free(*place);
    } else if constexpr (std::is_same_v<T, nrt_sys_trace_fetch_options_t**>) {
      behind::nrt_sys_trace_fetch_options_free(*place);
    } else if constexpr (std::is_same_v<T, nrta_error_tracker_t**>) {
      behind::nrta_error_tracker_destroy(*place);
    }
  };
  if constexpr (kFunction == Function::nrt_init) {
    behind::nrt_close();
  } else if constexpr (kFunction == Function::nrt_sys_trace_fetch_events) {
    behind::nrt_sys_trace_buffer_free(*std::get<0>(std::tuple<A...>(arguments...)));
  } else if constexpr (kFunction == Function::nrt_debug_client_connect) {
    behind::nrt_debug_client_connect_close(*std::get<1>(std::tuple<A...>(arguments...)));
  } else if constexpr (kFunction == Function::nrt_debug_client_read_one_event) {
    std::free(*std::get<2>(std::tuple<A...>(arguments...)));
  } else if constexpr (kFunction == Function::nrt_inspect_config_get_all_activity_types ||
                       kFunction == Function::nrt_inspect_config_get_enabled_activity_types) {
    free_names(&behind::nrt_inspect_config_free_activity_types);
  } else if constexpr (kFunction == Function::nrt_sys_trace_get_event_types ||
                       kFunction == Function::nrt_sys_trace_config_get_enabled_event_types) {
    free_names(&behind::nrt_sys_trace_free_event_types);
  } else {
    (one(arguments), ...);
  }
}

/// The call, with the account of what the client has.
template <Function kFunction, typename R, typename... A>
auto accounted(DoorFaults& faults, const CallSubject& subject, R (*function)(A...), A... arguments) {
  std::tuple<A...> all(arguments...);
  if constexpr (takes_object(kFunction)) {
    // Before the call: the next object may get the same handle.
    const void* handle = handle_of(std::get<0>(all));
    auto object = faults.remove(handle);
    const auto result = value_of<R, A...>(function, arguments...);
    if constexpr (std::is_same_v<R, NRT_STATUS>)
      if (result != NRT_SUCCESS && object) faults.put_back(handle, std::move(*object));
    return result;
  } else if constexpr (kFunction == Function::nrt_close) {
    faults.closing();
    return value_of<R, A...>(function, arguments...);
  } else {
    const auto result = value_of<R, A...>(function, arguments...);
    if constexpr (gives_object(kFunction)) {
      using Sort = DoorFaults::Sort;
      constexpr Sort kSort = loads_model(kFunction)                           ? Sort::kModel
                             : kFunction == Function::nrt_allocate_tensor_set ? Sort::kTensorSet
                                                                              : Sort::kTensor;
      if (result == NRT_SUCCESS)
        faults.add(*last_of(all), {kSort, kSort == Sort::kModel ? subject.model : subject.tensor, subject.bytes});
      else
        faults.give_back(subject.bytes);
    } else if constexpr (kFunction == Function::nrt_tensor_attach_buffer) {
      if (result == NRT_SUCCESS) faults.detach(std::get<0>(all));
    } else if constexpr (kFunction == Function::nrt_init) {
      if (result == NRT_SUCCESS) faults.opened();
    }
    return result;
  }
}

/// The statuses that a plan has for a call, and its limits of memory.
template <Function kFunction, typename... A>
NRT_STATUS judged(DoorFaults& faults, const char* name, const CallSubject& subject, NRT_STATUS (*function)(A...),
                  A... arguments) {
  const auto tell = [&](NRT_STATUS status, const char* how) {
    observe::log(observe::Component::kNrt, observe::Level::kError, name, "fault injection: {} ({}) is returned {}",
                 native::nrt_get_status_as_str(status), static_cast<int>(status), how);
    return status;
  };
  const auto verdict = faults.status(name, subject);
  Status fits;  // a limit counts the call whatever its status is to be
  if (subject.bytes != 0) fits = faults.reserve(name, subject);
  if (verdict && (!verdict->after || cannot_be_undone(kFunction))) {
    if (fits) faults.give_back(subject.bytes);
    const observe::trace::Span span{std::string_view(name)};  // whoever answers would have had one
    return tell(verdict->status, "and nothing is done");
  }
  if (!fits) return fail(name, fits.error());
  Outputs<A...> outputs(arguments...);
  const bool was_open = faults.is_open();
  const NRT_STATUS status = accounted<kFunction, NRT_STATUS, A...>(faults, subject, function, arguments...);
  if (!verdict || status != NRT_SUCCESS) return status;
  if (kFunction != Function::nrt_init || !was_open) {
    if constexpr (kFunction == Function::nrt_init) faults.closing();
    undo<kFunction, A...>(faults, arguments...);
  }
  outputs.restore();
  return tell(verdict->status, "although it is done");
}

/// The whole call.
template <Function kFunction, typename R, typename... A>
auto faulted(DoorFaults& faults, const char* name, std::string_view names, R (*function)(A...), A... arguments) {
  const CallSubject subject = subject_of<kFunction, A...>(faults, names, arguments...);
  const DoorFaults::Latency latency = faults.latency(name, subject);
  const auto wait = [](std::chrono::microseconds time) {
    if (time.count() > 0) std::this_thread::sleep_for(time);
  };
  wait(latency.before);
  if constexpr (std::is_same_v<R, NRT_STATUS>) {
    const NRT_STATUS status = judged<kFunction, A...>(faults, name, subject, function, arguments...);
    wait(latency.after);
    faults.returned(name, status);
    return status;
  } else {
    const auto result = accounted<kFunction, R, A...>(faults, subject, function, arguments...);
    wait(latency.after);
    faults.returned(name, NRT_SUCCESS);
    return result;
  }
}

}  // namespace opennrt::api
