// SPDX-License-Identifier: Apache-2.0
//
// The built tool and the digits model, for the tests of the command line.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/neff/npy.h"
#include "tests/unit/tools/process.h"

namespace opennrt::test {

inline std::string required_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) ADD_FAILURE() << name << " is not set; run this through ctest";
  return value != nullptr ? value : "";
}

class Tool : public ::testing::Test {
 protected:
  static std::filesystem::path bin(const std::string& name) {
    return std::filesystem::path(required_variable("OPENNRT_BUILD_DIR")) / "bin" / name;
  }
  static std::filesystem::path digits(const std::string& name) {
    return std::filesystem::path(required_variable("OPENNRT_SOURCE_DIR")) / "models" / "zoo" / "digits" / name;
  }

  /// Runs `opennrt` with the simulator behind it.
  static Outcome opennrt(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {},
                         const std::string& out_file = {}) {
    arguments.insert(arguments.begin(), bin("opennrt").string());
    environment.emplace("OPENNRT_BACKEND", "sim");
    return run_program(arguments, environment, out_file);
  }

  std::string compiled_digits(const std::string& auto_cast = "none") {
    const std::string neff = (folder_ / ("digits-" + auto_cast + ".neff")).string();
    const Outcome done = opennrt({"compile", digits("digits.onnx").string(), "-o", neff, "--auto-cast", auto_cast});
    EXPECT_EQ(done.exit, 0) << done.err;
    return neff;
  }

  static neff::NpyArray load(const std::filesystem::path& path) {
    const std::string text = read_text(path);
    auto array = neff::read_npy(std::as_bytes(std::span(text)));
    EXPECT_TRUE(array) << path << ": " << (array ? "" : array.error().message);
    return array ? *array : neff::NpyArray{};
  }

  std::string save(const std::string& name, const neff::NpyArray& array) const {
    const auto bytes = neff::write_npy(array);
    EXPECT_TRUE(bytes);
    write_text(folder_ / name, std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
    return (folder_ / name).string();
  }

  static std::vector<float> floats(const neff::NpyArray& array) {
    EXPECT_EQ(array.dtype, "float32");
    std::vector<float> values(array.data.size() / sizeof(float));
    std::memcpy(values.data(), array.data.data(), values.size() * sizeof(float));
    return values;
  }

  /// Held-out image `index` as an .npy file of the model's input shape.
  std::string image(std::size_t index) const {
    constexpr std::size_t kBytes = 64 * sizeof(float);
    const neff::NpyArray all = load(digits("heldout_images.npy"));
    const auto begin = all.data.begin() + static_cast<std::ptrdiff_t>(index * kBytes);
    return save("image" + std::to_string(index) + ".npy", {"float32", {1, 1, 8, 8}, {begin, begin + kBytes}});
  }

  /// The run failed as it should: a status, and as its last word one line that a person can act upon.
  static void expect_failure(const Outcome& outcome, int exit, const ::testing::Matcher<const std::string&>& message) {
    EXPECT_EQ(outcome.exit, exit) << outcome.err;
    const std::size_t line = outcome.err.rfind("opennrt: error: ");
    ASSERT_NE(line, std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find('\n', line), outcome.err.size() - 1) << outcome.err;
    EXPECT_THAT(outcome.err.substr(line), message);
  }

  TemporaryFolder folder_;
};

}  // namespace opennrt::test
