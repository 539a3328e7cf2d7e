// SPDX-License-Identifier: Apache-2.0
//
// What a good NEFF is read as.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace opennrt::neff {
namespace {

using test::NeffBuilder;
using test::SubgraphBuilder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

SubgraphBuilder rich() {
  SubgraphBuilder b = test::binary_program(isa::Alu::kAdd, 4, 8);
  b.constant("w", std::vector<std::byte>(96, std::byte{7}), "w.npy");
  b.constant("raw", std::vector<std::byte>(33, std::byte{9}), "raw.bin");
  auto tmp = b.variable("scratch", VariableType::kTmpBuf, 256);
  b.graph.variables[tmp].alignment = 128;
  return b;
}

TEST(NeffContainer, givenWhatTheBuilderWroteWhenParsedThenEveryFieldIsThere) {
  SubgraphBuilder b = rich();
  auto neff = parse(NeffBuilder::of(b.graph).build(), {.validate_hash = true});
  ASSERT_TRUE(neff) << neff.error().message;
  EXPECT_EQ(neff->target, "opennrt-1");
  EXPECT_TRUE(neff->notices.empty());
  ASSERT_EQ(neff->subgraphs.size(), 1u);
  const Subgraph& g = neff->subgraphs[0];
  EXPECT_EQ(g.name, "sg00");
  EXPECT_EQ(g.isa_version, 1u);
  ASSERT_EQ(g.variables.size(), b.graph.variables.size());
  for (std::size_t i = 0; i < g.variables.size(); ++i) {
    const Variable &got = g.variables[i], &want = b.graph.variables[i];
    EXPECT_EQ(got.name, want.name);
    EXPECT_EQ(got.type, want.type);
    EXPECT_EQ(got.id, want.id);
    EXPECT_EQ(got.size, want.size);
    EXPECT_EQ(got.alignment, want.alignment);
    EXPECT_EQ(got.data, want.data);
  }
  ASSERT_EQ(g.queues.size(), 2u);
  EXPECT_EQ(g.queues[0].name, "load");
  EXPECT_EQ(g.queues[0].type, QueueType::kIn);
  EXPECT_EQ(g.queues[0].owner, isa::Engine::kAct);
  EXPECT_EQ(g.queues[1].type, QueueType::kOut);
  EXPECT_EQ(g.queues[1].owner, isa::Engine::kPe);
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    EXPECT_EQ(g.engines[e].instructions, b.graph.engines[e].instructions);
    ASSERT_EQ(g.engines[e].dma.size(), b.graph.engines[e].dma.size());
    for (std::size_t i = 0; i < g.engines[e].dma.size(); ++i) {
      const DmaEntry &got = g.engines[e].dma[i], &want = b.graph.engines[e].dma[i];
      EXPECT_EQ(got.id, want.id);
      EXPECT_EQ(got.queue, want.queue);
      EXPECT_EQ(got.semaphore, want.semaphore);
      EXPECT_EQ(got.from.variable, want.from.variable);
      EXPECT_EQ(got.from.sizes, want.from.sizes);
      EXPECT_EQ(got.to.offset, want.to.offset);
      EXPECT_EQ(got.to.steps, want.to.steps);
    }
  }
  ASSERT_EQ(g.tensors.size(), 3u);
  EXPECT_EQ(g.tensors[0].name, "a");
  EXPECT_EQ(g.tensors[1].name, "b");
  EXPECT_EQ(g.tensors[2].name, "out");
  EXPECT_EQ(g.tensors[2].kind, TensorKind::kOutput);
  EXPECT_EQ(g.tensors[2].dtype, "float32");
  EXPECT_THAT(g.tensors[2].shape, ElementsAre(4u, 8u));
  EXPECT_EQ(g.tensors[2].bytes, 128u);
}

TEST(NeffContainer, givenAPlainTarOrMd5OrTrailingZerosWhenParsedThenItIsRead) {
  NeffBuilder b = NeffBuilder::of(rich().graph);
  b.gzip = false;
  EXPECT_TRUE(parse(b.build(), {.validate_hash = true}));
  b.gzip = true;
  b.header.pkg_version = 2;
  EXPECT_TRUE(parse(b.build(), {.validate_hash = true}));
  auto payload = b.payload();
  payload.resize(payload.size() + 777);  // zero bytes behind the gzip member, within data_size
  auto bytes = b.wrap(payload);
  auto neff = parse(bytes);
  ASSERT_TRUE(neff) << neff.error().message;
  bytes.resize(bytes.size() + 4096);  // and behind the payload
  EXPECT_TRUE(parse(bytes));
}

TEST(NeffContainer, givenAHeaderWhenEncodedAndParsedThenNothingIsLost) {
  Header h;
  h.data_size = 1;
  h.build_version = "opennrt 1.2.3";
  h.num_tpb = 3;
  h.hash[31] = 0xaa;
  h.uuid[15] = 0xbb;
  h.name = std::string(255, 'n');
  h.requested_tpb_count = 4;
  h.tpb_per_node[63] = 5;
  h.feature_bits = 0x8000000000000001ull;
  h.lnc_size = 2;
  auto encoded = encode_header(h);
  std::vector<std::byte> bytes(encoded.begin(), encoded.end());
  bytes.push_back(std::byte{1});
  auto back = parse_header(bytes);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->build_version, h.build_version);
  EXPECT_EQ(back->name, h.name);
  EXPECT_EQ(back->num_tpb, 3u);
  EXPECT_EQ(back->hash, h.hash);
  EXPECT_EQ(back->uuid, h.uuid);
  EXPECT_EQ(back->requested_tpb_count, 4u);
  EXPECT_EQ(back->tpb_per_node, h.tpb_per_node);
  EXPECT_EQ(back->feature_bits, h.feature_bits);
  EXPECT_EQ(back->lnc_size, 2u);
  // Offsets as the SDK's page gives them.
  EXPECT_EQ(encoded[172 + 31], std::byte{0xaa});
  EXPECT_EQ(encoded[480 + 63], std::byte{5});
  EXPECT_EQ(encoded[552], std::byte{2});
}

TEST(NeffContainer, givenOtherFileNamesInDefJsonWhenParsedThenTheyAreFollowed) {
  NeffBuilder b = NeffBuilder::of(test::copy_program(2, 4).graph);
  b.files["sg00/Pooling.json"] = b.files["sg00/pool.json"];
  b.files["sg00/deep/stream.bin"] = b.files["sg00/pool.bin"];
  b.remove("sg00/pool.json").remove("sg00/pool.bin");
  b.edit("sg00/def.json", [](auto& j) {
    j["pool"] = "Pooling.json";
    j["pool_instr"] = "deep/stream.bin";
  });
  b.edit("sg00/Pooling.json", [](auto& j) { j.erase("instr"); });
  auto neff = parse(b.build());
  ASSERT_TRUE(neff) << neff.error().message;
  EXPECT_EQ(neff->subgraphs[0].engines[2].instructions.size(), 3 * isa::kInstructionBytes);
}

TEST(NeffContainer,
     givenAQueueWithoutOwnerOrWithASemaphoreWhenParsedThenItsFirstUserOwnsItAndEntriesInheritTheSemaphore) {
  NeffBuilder b = NeffBuilder::of(test::copy_program(2, 4).graph);
  b.edit("sg00/def.json", [](auto& j) {
    j["dma_queue"]["load"].erase("owner");
    j["dma_queue"]["load"]["semaphore_set"] = {9};
  });
  b.edit("sg00/pool.json", [](auto& j) { j["dma"][0].erase("semaphore"); });
  auto neff = parse(b.build());
  ASSERT_TRUE(neff) << neff.error().message;
  EXPECT_EQ(neff->subgraphs[0].queues[0].owner, isa::Engine::kPool);
  EXPECT_EQ(neff->subgraphs[0].engines[2].dma[0].semaphore, 9u);
}

TEST(NeffContainer, givenAForeignTargetWhenParsedThenItIsDescribedAndMarkedAsNotOurs) {
  NeffBuilder b = NeffBuilder::of(test::copy_program(2, 4).graph);
  b.edit("kelf-0.json", [](auto& j) { j["target"] = "inf1"; });
  auto described = parse(b.build());
  ASSERT_TRUE(described) << described.error().message;
  EXPECT_EQ(described->target, "inf1");
  EXPECT_EQ(described->subgraphs[0].isa_version, 0u);
  EXPECT_EQ(described->subgraphs[0].tensors.size(), 2u);
  b.edit("sg00/def.json", [](auto& j) { j["dma_queue"]["load"]["num_queues"] = 16; });
  b.header.feature_bits = 4;
  b.header.lnc_size = 2;
  auto partly = parse(b.build());
  ASSERT_TRUE(partly) << partly.error().message;
  ASSERT_EQ(partly->notices.size(), 1u);
  EXPECT_THAT(partly->notices[0], HasSubstr("num_queues is 16"));
}

TEST(NeffContainer, givenAnotherWritersHashWhenValidationIsAskedThenANoticeSaysThatItCannotBe) {
  NeffBuilder b = NeffBuilder::of(test::copy_program(2, 4).graph);
  b.header.build_version = "1.22.0.0";
  auto neff = parse(b.build(), {.validate_hash = true});
  ASSERT_TRUE(neff);
  ASSERT_EQ(neff->notices.size(), 1u);
  EXPECT_THAT(neff->notices[0], HasSubstr("hash cannot be validated"));
  EXPECT_TRUE(parse(b.build())->notices.empty());
}

TEST(NeffContainer, givenDotSlashPathsAndFoldersWhenUnpackedThenPathsAreClean) {
  NeffBuilder b;
  b.file("./a/./b.txt", "x").entry("a", AE_IFDIR);
  auto files = unpack(b.build());
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_EQ(files->size(), 1u);
  EXPECT_TRUE(files->contains("a/b.txt"));
}

}  // namespace
}  // namespace opennrt::neff
