// SPDX-License-Identifier: Apache-2.0
//
// libsystemc.so defines a main() of its own; an object file of the program comes before any library.
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
