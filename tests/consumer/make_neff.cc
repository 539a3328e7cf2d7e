// SPDX-License-Identifier: Apache-2.0
// make_neff <folder>: copy.neff, whose output `out` is its input `in`, and in.bin for it.
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s folder\n", argv[0]);
    return 2;
  }
  const std::string folder = argv[1];
  const auto neff = opennrt::test::NeffBuilder::of(opennrt::test::copy_program(4, 16).graph).build();
  std::ofstream(folder + "/copy.neff", std::ios::binary)
      .write(reinterpret_cast<const char*>(neff.data()), static_cast<std::streamsize>(neff.size()));
  std::ofstream input(folder + "/in.bin", std::ios::binary);
  for (int i = 0; i < 64; ++i) {
    const float value = static_cast<float>(i) - 31.5f;
    input.write(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return input ? 0 : 1;
}
