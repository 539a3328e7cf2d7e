// SPDX-License-Identifier: Apache-2.0
//
// Redirects the suite's calls of the C API through objects that record what came back (coverage.h). A test calls nrt_execute(…) as
// any client does; the name is a macro for an object with the function's signature, which also converts to the function's address.
//
// NRT_SUCCESS, an address, a number that is not 0 is a success, every other answer a refusal; NRT_UNINITIALIZED and NRT_CLOSED, which
// say little about a function, are kept apart.
#pragma once

#include <nrt/ndebug_stream.h>
#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_async_sendrecv.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_profile.h>
#include <nrt/nrt_status.h>
#include <nrt/nrt_sys_trace.h>
#include <nrt/nrt_version.h>

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "tests/conformance/coverage.h"

namespace conformance::covered {

template <typename R>
void note(std::size_t function, const R& answer) {
  if constexpr (std::is_same_v<R, NRT_STATUS>) {
    const bool closed = answer == NRT_UNINITIALIZED || answer == NRT_CLOSED;
    record(function,
           answer == NRT_SUCCESS ? Side::kSucceeded
           : closed              ? Side::kClosed
                                 : Side::kRefused,
           static_cast<int>(answer));
  } else if constexpr (std::is_same_v<R, const char*>) {
    const bool known = answer != nullptr && std::strcmp(answer, "NRT_UNKNOWN_STATUS") != 0;
    record(function, known ? Side::kSucceeded : Side::kRefused, kNoStatus);
  } else {
    record(function, answer != R{} ? Side::kSucceeded : Side::kRefused, kNoStatus);
  }
}

template <std::size_t kIndex, auto kFunction>
struct Covered;

template <std::size_t kIndex, typename R, typename... Parameters, R (*kFunction)(Parameters...)>
struct Covered<kIndex, kFunction> {
  static R call(Parameters... arguments) {
    if constexpr (std::is_void_v<R>) {
      kFunction(arguments...);
      record(kIndex, Side::kSucceeded, kNoStatus);
    } else {
      const R answer = kFunction(arguments...);
      note(kIndex, answer);
      return answer;
    }
  }
  R operator()(Parameters... arguments) const { return call(arguments...); }
  using Address = R (*)(Parameters...);
  operator Address() const { return &call; }  // NOLINT: a function's name is its address, too
};

#define SIZE(type, bytes)
#define OFFSET(type, member, bytes)
#define VALUE(name, value)
namespace index {
enum : std::size_t {
#define FUNCTION(result, name, arguments) name,
#include "tests/unit/api/abi_table.inc"
#undef FUNCTION
  kEnd
};
}  // namespace index
inline constexpr std::size_t kFunctions = index::kEnd;
#define FUNCTION(result, name, arguments) inline constexpr Covered<index::name, &::name> name{};
#include "tests/unit/api/abi_table.inc"
#undef SIZE
#undef OFFSET
#undef VALUE
#undef FUNCTION

}  // namespace conformance::covered

#ifndef OPENNRT_NOT_REDIRECTED
#include "covered_names.h"  // made by CMake from the same table: #define nrt_init conformance::covered::nrt_init …
#endif
