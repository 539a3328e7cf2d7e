// SPDX-License-Identifier: Apache-2.0
//
// The table of requests against the ABI's structures.
#include "backends/emulator/preload/describe.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <set>

#include "backends/emulator/preload/transcript.h"
#include "backends/neuron/abi.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;

std::string text_of(const RequestDescription& request, const void* argument, bool out) {
  std::string text;
  for (const Leaf& leaf : leaves(request, argument))
    if (leaf.out == out)
      text += leaf.name + "=" +
              leaf_text(leaf, [](const Leaf&, std::uint64_t value) { return "#" + std::to_string(value); }) + " ";
  return text;
}

TEST(Describe, givenTheTableThenNamesAndNumbersAreUniqueAndFieldsLieWithinTheirStructures) {
  std::set<std::string> names;
  std::set<unsigned long> requests;
  for (const RequestDescription& one : all_requests()) {
    EXPECT_TRUE(names.insert(one.name).second) << one.name;
    EXPECT_TRUE(requests.insert(one.request).second) << one.name;
    EXPECT_EQ(describe(one.request), &one);
    EXPECT_EQ(describe(std::string_view(one.name)), &one);
    if (one.layout == nullptr) continue;
    std::uint32_t end = 0;
    for (const Field& field : one.layout->fields) {
      const std::uint32_t size = field.pointer ? 8 : field.size * (field.counted != nullptr ? 1 : field.count);
      if (std::string_view(field.name) != "app_data") {  // behind the structure
        EXPECT_LE(field.offset + size, one.layout->size) << one.name << " " << field.name;
      }
      EXPECT_GE(field.offset, end) << one.name << " " << field.name << ": not in the order of the ABI";
      end = field.offset + (field.pointer ? 8 : field.size);
    }
    // A request whose number carries the size of a structure carries that of ours.
    if (_IOC_SIZE(one.request) > 8 && std::string_view(one.name).find("_V2") == std::string_view::npos) {
      EXPECT_EQ(_IOC_SIZE(one.request), one.layout->size) << one.name;
    }
  }
  EXPECT_EQ(describe(0x1234ul), nullptr);
}

TEST(Describe, givenACopyThenItsBufferIsReadOrWrittenAsTheFlagSays) {
  char buffer[16] = {};
  abi::MemBufCopy copy{5, reinterpret_cast<std::uintptr_t>(buffer), 16, 2, 1, 0};
  const RequestDescription& request = *describe(abi::kMemBufCopy);
  EXPECT_EQ(text_of(request, &copy, false), "mem_handle=#5 buffer=<16 bytes> size=16 offset=2 copy_to_mem_handle=1 ");
  EXPECT_EQ(text_of(request, &copy, true), "");
  copy.copy_to_mem_handle = 0;
  EXPECT_EQ(text_of(request, &copy, true), "buffer=<16 bytes> ");
}

TEST(Describe, givenABatchThenAsManyEntriesAsItCounts) {
  auto batch = std::make_unique<abi::DmaQueueInitBatch>();
  *batch = {};
  batch->count = 2;
  batch->entries[1] = {3, 4, 64, 64, 11, 12, 0, 1, 0};
  const std::string text = text_of(*describe(abi::kDmaQueueInitBatch), batch.get(), false);
  EXPECT_NE(text.find("count=2 entries[0].eng_id=0"), std::string::npos) << text;
  EXPECT_NE(text.find("entries[1].eng_id=3 entries[1].qid=4 entries[1].tx_desc_count=64 entries[1].rx_desc_count=64 "
                      "entries[1].tx_handle=#11 entries[1].rx_handle=#12"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("entries[2]"), std::string::npos);
  batch->count = 0xffffffff;  // no more than there are
  EXPECT_EQ(leaves(*describe(abi::kDmaQueueInitBatch), batch.get()).size(), 1 + 8u * abi::kMaxQueueInitBatch);
}

TEST(Describe, givenRegistersThenOnlyBar0sAreShown) {
  std::uint64_t addresses[] = {0x100, 0x104};
  std::uint32_t values[] = {7, 7};
  abi::BarRw rw{0, 0, reinterpret_cast<std::uintptr_t>(addresses), reinterpret_cast<std::uintptr_t>(values), 2, 0};
  const RequestDescription& request = *describe(abi::kBarWrite);
  EXPECT_EQ(text_of(request, &rw, false), "bar=0 address=[#256,#260] data=[0x7*2] count=2 ");
  rw.bar = 2;
  EXPECT_EQ(text_of(request, &rw, false), "bar=2 address=[#256] data=<8 bytes> count=2 ");
}

TEST(Describe, givenPointersToNowhereThenTheyAreCalledUnmappedAndNothingCrashes) {
  void* hole = mmap(nullptr, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(hole, MAP_FAILED);
  for (const RequestDescription& one : all_requests()) {
    for (const void* argument : {static_cast<const void*>(nullptr), static_cast<const void*>(hole),
                                 static_cast<const void*>(static_cast<char*>(hole) + 8191)}) {
      for (const Leaf& leaf : leaves(one, argument)) EXPECT_EQ(leaf.address, 0u) << one.name << " " << leaf.name;
    }
  }
  abi::MemGetPa pa{1, reinterpret_cast<std::uintptr_t>(hole)};
  EXPECT_EQ(text_of(*describe(abi::kMemGetPa), &pa, true), "pa=unmapped ");
  munmap(hole, 8192);
}

}  // namespace
}  // namespace opennrt::emulator
