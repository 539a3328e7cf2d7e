// SPDX-License-Identifier: Apache-2.0
#include "core/neff/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/common/bytes.h"

namespace opennrt::neff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::byte> npy(const std::string& header, std::size_t data_bytes, char major = 1) {
  std::string text = "\x93NUMPY";
  text += major;
  text += '\0';
  auto length = static_cast<std::uint32_t>(header.size());
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) text += static_cast<char>(length >> (8 * i));
  text += header;
  text.append(data_bytes, '\x5a');
  auto bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

TEST(Npy, givenEveryTypeAndRankWhenWrittenAndReadThenItIsTheSame) {
  for (const char* dtype : {"float32", "float16", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8",
                            "uint16", "uint32", "uint64", "bool"})
    for (const auto& shape : std::vector<std::vector<std::uint64_t>>{{}, {3}, {2, 3}, {1, 0, 5}, {2, 1, 2, 2}}) {
      NpyArray array{dtype, shape, {}};
      std::uint64_t bytes = dtype_bytes(dtype);
      for (auto n : shape) bytes *= n;
      for (std::uint64_t i = 0; i < bytes; ++i) array.data.push_back(static_cast<std::byte>(i));
      auto written = write_npy(array);
      ASSERT_TRUE(written) << written.error().message;
      EXPECT_EQ((written->size() - array.data.size()) % 64, 0u);
      auto read = read_npy(*written);
      ASSERT_TRUE(read) << read.error().message;
      EXPECT_EQ(read->dtype, dtype);
      EXPECT_EQ(read->shape, shape);
      EXPECT_EQ(read->data, array.data);
    }
}

TEST(Npy, givenAFileAsNumpyWritesItWhenReadThenItIsUnderstood) {
  // numpy.save of numpy.zeros((2, 3), 'f4') begins so.
  auto array = read_npy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n", 24));
  ASSERT_TRUE(array) << array.error().message;
  EXPECT_THAT(array->shape, ElementsAre(2u, 3u));
  EXPECT_TRUE(read_npy(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }\n", 4, 2)));
  EXPECT_TRUE(read_npy(
      npy("{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }\n", 16)));  // one dimension: order says nothing
}

TEST(Npy, givenWhatIsWrongWithAFileWhenReadThenTheErrorNamesIt) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
  struct Case {
    std::vector<std::byte> bytes;
    const char* text;
  };
  auto truncated = npy(good, 8);
  truncated.resize(20);
  for (const Case& c : {
           Case{{}, "magic"},
           Case{npy(good, 8, 3), "format version is 3.0"},
           Case{truncated, "header length is"},
           Case{npy(good, 7), "make 8 bytes, the file holds 7"},
           Case{npy(good, 9), "make 8 bytes, the file holds 9"},
           Case{npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8), "descr is '>f4'"},
           Case{npy("{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", 16), "descr is '<c8'"},
           Case{npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8), "descr is not a text"},
           Case{npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", 8), "fortran_order is True"},
           Case{npy("{'descr': '<f4', 'fortran_order': 1, 'shape': (2,), }", 8), "fortran_order is neither"},
           Case{npy("{'descr': '<f4', 'shape': (2,), }", 8), "fortran_order is missing"},
           Case{npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8), "shape is not"},
           Case{npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }", 8), "shape is not"},
           Case{npy("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 4), }", 8),
                "more than 2^64"},
           Case{npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }", 8),
                "shape is not"},
           Case{npy("{'descr': '<f4', 'descr': '<f4', }", 8), "'descr' is unknown or there twice"},
           Case{npy(good + "x", 8), "text after"},
           Case{npy("", 8), "expected '{'"},
       }) {
    auto array = read_npy(c.bytes);
    ASSERT_FALSE(array) << c.text;
    EXPECT_THAT(array.error().message, HasSubstr(c.text));
  }
  EXPECT_FALSE(write_npy({"float31", {1}, {}}));
  EXPECT_FALSE(write_npy({"float32", {2}, std::vector<std::byte>(4)}));
}

}  // namespace
}  // namespace opennrt::neff
