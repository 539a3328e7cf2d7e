// SPDX-License-Identifier: Apache-2.0
//
// Each case runs in a process of its own: who answers is decided once in a process.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "tests/process/helpers.h"
#include "tests/unit/tools/process.h"

namespace vendor_test {

using process_test::Ended;
using process_test::in_child;
using testing::HasSubstr;
using testing::Not;

/// Ends the child with the line whose expectation was not met.
#define EXPECT_IN_CHILD(condition)                                              \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                                 \
    }                                                                           \
  } while (false)

inline std::string library(const std::string& which) {
  return std::string(std::getenv("OPENNRT_VENDOR_DIR")) + "/" + which + "/libnrt.so.1";
}

/// The library that this program is linked with.
inline std::string own_library() {
  return std::filesystem::canonical(std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/lib/libnrt.so.1").string();
}

struct Vendor : testing::Test {
  opennrt::test::TemporaryFolder folder;

  /// `body` with OPENNRT_BACKEND=vendor and that library.
  Ended forwarded(const std::string& path, const std::function<int()>& body, bool leave_by_exit = false) const {
    return in_child(
        [&] {
          setenv("OPENNRT_BACKEND", "vendor", 1);
          setenv("OPENNRT_VENDOR_LIBNRT", path.c_str(), 1);
          return body();
        },
        leave_by_exit);
  }

  static std::string text_of(const std::filesystem::path& file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
};

inline void succeeded(const Ended& ended) {
  EXPECT_TRUE(ended.exited(0)) << ended.status << "\n" << ended.err;
}

}  // namespace vendor_test
