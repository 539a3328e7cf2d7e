// SPDX-License-Identifier: Apache-2.0
//
// What public clients of the runtime do and a drop-in must bear, as C programs of their own (client.c). Those that fork, dlclose or
// exit without nrt_close are in process_test.cc; threads that execute while nrt_close comes are in the conformance suite.
#include <fstream>

#include "tests/process/client.h"
#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"
#include "tests/unit/tools/process.h"

namespace process_test {
namespace {

using opennrt::test::TemporaryFolder;

struct PublicClient : testing::Test {
  TemporaryFolder folder;
  std::string neff = (folder / "copy.neff").string();
  void SetUp() override {
    const auto bytes = opennrt::test::NeffBuilder::of(opennrt::test::copy_program(4, 16).graph).build();
    std::ofstream(neff, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void runs_well(const char* what, bool quiet = true) {
    Client client({what, neff}, {{"OPENNRT_RUNTIME_DIR", folder.path().string()}});
    const Ended ended = client.end();
    EXPECT_TRUE(ended.exited(0)) << ended.status << "\n" << ended.err;
    EXPECT_EQ(ended.out, "");
    if (quiet) {
      EXPECT_EQ(ended.err, "");
    }
  }
};

TEST_F(PublicClient, asksForTheCountsBeforeInit) {
  runs_well("counts_before_init");
}
TEST_F(PublicClient, freesTensorsSetsAndInformationAfterUnload) {
  runs_well("free_after_unload");
}
TEST_F(PublicClient, freesTensorsSetsAndInformationAfterClose) {
  runs_well("free_after_close");
}
TEST_F(PublicClient, passesNullForVersionsAndNames) {
  runs_well("null_names", false);
}
TEST_F(PublicClient, initsFromManyThreadsAtOnce) {
  runs_well("init_from_threads", false);
}

}  // namespace
}  // namespace process_test
