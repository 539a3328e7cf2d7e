// SPDX-License-Identifier: Apache-2.0
//
// Hundreds of damaged NEFFs from a good one, with fixed seeds: each is parsed or refused with a sentence, in bounded memory and
// time, without a crash (requirement E5).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <random>
#include <set>

#include "tests/support/model_builder.h"
#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OPENNRT_SANITIZED 1
#else
#define OPENNRT_SANITIZED 0
#endif

namespace opennrt::neff {
namespace {

using test::NeffBuilder;
using test::OrderedJson;

constexpr std::uint64_t kUnpackedLimit = 16u << 20;

NeffBuilder good() {
  auto b = test::binary_program(isa::Alu::kAdd, 8, 16);
  b.constant("w", std::vector<std::byte>(4096, std::byte{3}), "w.npy");
  b.constant("raw", std::vector<std::byte>(1000, std::byte{5}), "raw.bin");
  b.variable("scratch", VariableType::kTmpBuf, 4096);
  return NeffBuilder::of(b.graph);
}

class NeffFuzz : public ::testing::Test {
 protected:
  // Beyond this an allocation fails; the parser's own limits must keep it well below. Sanitizers need the address space.
  void SetUp() override {
    if (OPENNRT_SANITIZED) return;
    rlimit limit{};
    getrlimit(RLIMIT_AS, &old_);
    limit = old_;
    limit.rlim_cur = 512u << 20;
    ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  }
  void TearDown() override {
    if (!OPENNRT_SANITIZED) setrlimit(RLIMIT_AS, &old_);
  }

  /// Parses; when it is refused the sentence must say where. Returns whether it was read.
  bool feed(std::span<const std::byte> bytes) {
    auto begin = std::chrono::steady_clock::now();
    auto neff = parse(bytes, {.max_unpacked_bytes = kUnpackedLimit});
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_LT(ms, OPENNRT_SANITIZED ? 20'000 : 2'000);
    ++fed_;
    if (neff) {
      check_whole(*neff);
      return true;
    }
    ++refused_;
    EXPECT_NE(neff.error().code, ErrorCode::kInternal) << neff.error().message;
    EXPECT_NE(neff.error().code, ErrorCode::kResource) << neff.error().message;
    EXPECT_THAT(neff.error().message, ::testing::ContainsRegex("NEFF|\\.json"));
    return false;
  }

  /// What users of a Neff rely on: every index is one, every transfer stays inside its variable.
  static void check_whole(const Neff& neff) {
    if (neff.target != kTarget) return;
    check_steps(neff);
    for (const Subgraph& g : neff.subgraphs) {
      for (const Variable& v : g.variables)
        if (v.type == VariableType::kFile) {
          ASSERT_EQ(v.data.size(), v.size);
        }
      for (const auto& engine : g.engines) {
        ASSERT_EQ(engine.instructions.size() % 64, 0u);
        for (const DmaEntry& d : engine.dma) {
          ASSERT_LT(d.queue, g.queues.size());
          for (const AccessPattern* p : {&d.from, &d.to}) {
            ASSERT_LT(p->variable, g.variables.size());
            ASSERT_EQ(p->sizes.size(), p->steps.size());
            double low = static_cast<double>(p->offset), high = low;
            for (std::size_t i = 0; i < p->sizes.size(); ++i) {
              double reach = static_cast<double>(p->sizes[i] - 1) * static_cast<double>(p->steps[i]);
              (reach < 0 ? low : high) += reach;
            }
            ASSERT_GE(low, 0);
            ASSERT_LT(high, static_cast<double>(g.variables[p->variable].size));
          }
        }
      }
    }
  }

  /// Each step runs once, after what it needs; every output of the model is made.
  static void check_steps(const Neff& neff) {
    std::set<std::string> there;
    for (const TensorInfo& t : neff.tensors)
      if (t.kind == TensorKind::kInput) there.insert(t.name);
    for (const GraphConstant& c : neff.constants) {
      there.insert(c.info.name);
      ASSERT_EQ(c.data.size(), c.info.bytes);
    }
    ASSERT_EQ(neff.steps.size(), neff.subgraphs.size() + neff.cpu_nodes.size());
    for (const Step& step : neff.steps) {
      if (step.kind == Step::Kind::kCpu) {
        ASSERT_LT(step.index, neff.cpu_nodes.size());
        const CpuNode& node = neff.cpu_nodes[step.index];
        for (const std::string& input : node.inputs) ASSERT_TRUE(there.contains(input)) << input;
        for (const TensorInfo& output : node.outputs) ASSERT_TRUE(there.insert(output.name).second) << output.name;
      } else {
        ASSERT_LT(step.index, neff.subgraphs.size());
        for (const TensorInfo& t : neff.subgraphs[step.index].tensors) {
          if (t.kind == TensorKind::kInput)
            ASSERT_TRUE(there.contains(t.name)) << t.name;
          else
            ASSERT_TRUE(there.insert(t.name).second) << t.name;
        }
      }
    }
    for (const TensorInfo& t : neff.tensors) ASSERT_TRUE(there.contains(t.name)) << t.name;
  }

  int fed_ = 0, refused_ = 0;
  rlimit old_{};
};

TEST_F(NeffFuzz, givenTruncatedFilesWhenParsedThenEachIsRefused) {
  for (bool gzip : {true, false}) {
    NeffBuilder b = good();
    b.gzip = gzip;
    auto bytes = b.build();
    for (std::size_t i = 0; i < 150; ++i) {
      std::size_t keep = bytes.size() * i / 150;
      EXPECT_FALSE(feed(std::span(bytes).first(keep))) << keep;
    }
    // The payload cut short and the header made to agree: the archive itself must be found broken, or what it names missing.
    auto payload = b.payload();
    for (std::size_t i = 1; i < 100; ++i) {
      std::vector<std::byte> cut(payload.begin(),
                                 payload.begin() + static_cast<std::ptrdiff_t>(payload.size() * i / 200));
      EXPECT_FALSE(feed(b.wrap(cut))) << cut.size();
    }
  }
}

TEST_F(NeffFuzz, givenFlippedBitsWhenParsedThenEachIsReadOrRefused) {
  std::mt19937 random(20260101);
  for (bool gzip : {true, false}) {
    NeffBuilder b = good();
    b.gzip = gzip;
    auto bytes = b.build();
    for (int i = 0; i < 400; ++i) {
      auto damaged = bytes;
      for (unsigned n = 1 + random() % 4; n > 0; --n)
        damaged[random() % damaged.size()] ^= static_cast<std::byte>(1u << random() % 8);
      feed(damaged);
    }
  }
  EXPECT_GT(refused_, 200);
}

TEST_F(NeffFuzz, givenRandomBytesInEachFileWhenParsedThenEachIsReadOrRefused) {
  std::mt19937 random(7);
  NeffBuilder base = good();
  for (const auto& [path, data] : base.files)
    for (int i = 0; i < 12; ++i) {
      NeffBuilder b = base;
      b.gzip = false;
      auto& file = b.files[path];
      if (file.empty()) continue;
      switch (i % 4) {
        case 0:
          file[random() % file.size()] = static_cast<std::byte>(random());
          break;
        case 1:
          file.resize(random() % file.size());
          break;
        case 2:
          for (auto& byte : file) byte = static_cast<std::byte>(random());
          break;
        default:
          file.insert(file.begin() + static_cast<std::ptrdiff_t>(random() % file.size()), 1 + random() % 9,
                      static_cast<std::byte>(random()));
          break;
      }
      feed(b.build());
    }
  EXPECT_GT(refused_, 40);
}

/// Every place in a JSON document, as pointers.
void places(const OrderedJson& json, const std::string& at, std::vector<std::string>& out) {
  out.push_back(at);
  if (json.is_object())
    for (const auto& [key, value] : json.items()) places(value, at + "/" + key, out);
  if (json.is_array())
    for (std::size_t i = 0; i < json.size(); ++i) places(json[i], at + "/" + std::to_string(i), out);
}

TEST_F(NeffFuzz, givenHostileValuesAtEveryPlaceOfEveryJsonFileWhenParsedThenEachIsReadOrRefused) {
  const std::vector<OrderedJson> hostile{nullptr,
                                         true,
                                         -1,
                                         0,
                                         UINT64_MAX,
                                         INT64_MIN,
                                         1e308,
                                         4294967295u,
                                         "",
                                         "../../x",
                                         std::string(5000, 'x'),
                                         OrderedJson::array(),
                                         OrderedJson::object(),
                                         OrderedJson::array({OrderedJson::object()})};
  std::mt19937 random(99);
  const auto damage = [&](NeffBuilder base, const std::function<bool(const std::string&)>& chosen) {
    base.gzip = false;
    for (const auto& [path, data] : base.files) {
      if (!chosen(path)) continue;
      std::vector<std::string> all;
      OrderedJson json = base.json(path);
      places(json, "", all);
      for (const auto& place : all) {
        for (int i = 0; i < 3; ++i) {
          NeffBuilder b = base;
          OrderedJson changed = json;
          changed[OrderedJson::json_pointer(place)] = hostile[random() % hostile.size()];
          b.json(path, changed);
          feed(b.build());
        }
        if (place.empty()) continue;
        NeffBuilder b = base;  // and without it
        OrderedJson changed = json;
        auto pointer = OrderedJson::json_pointer(place);
        OrderedJson& parent = changed[pointer.parent_pointer()];
        if (parent.is_object())
          parent.erase(pointer.back());
        else
          parent.erase(parent.begin() + std::stol(pointer.back()));
        b.json(path, changed);
        feed(b.build());
      }
    }
  };
  damage(good(), [](const std::string& path) { return path.ends_with(".json"); });
  damage(test::every_step().files(),
         [](const std::string& path) { return path == "neff.json" || path.starts_with("kelf-"); });
  EXPECT_GT(fed_, 500);
  EXPECT_GT(refused_, fed_ / 2);
}

TEST_F(NeffFuzz, givenBombsWhenParsedThenMemoryStaysBounded) {
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  {
    NeffBuilder b = good();  // 40 files of 1 MiB of zeros; the limit is 16 MiB
    for (int i = 0; i < 40; ++i) b.files["sg00/z" + std::to_string(i)].resize(1u << 20);
    EXPECT_FALSE(feed(b.build()));
  }
  {
    NeffBuilder b = good();
    b.file("sg00/def.json", "{\"var\": [" + std::string(8u << 20, '1') + "]}");
    EXPECT_FALSE(feed(b.build()));
  }
  {
    NeffBuilder b = good();
    std::string many = "{\"nodes\": [";
    for (int i = 0; i < 1'000'000; ++i) many += "0,";
    b.file("neff.json", many + "0]}");
    EXPECT_FALSE(feed(b.build()));
  }
  getrusage(RUSAGE_SELF, &after);
  if (!OPENNRT_SANITIZED) {
    EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 256 * 1024) << "KiB";
  }
}

TEST_F(NeffFuzz, givenHundredsOfRefusalsWhenAGoodFileFollowsThenItIsRead) {
  auto bytes = good().build();
  for (int i = 0; i < 200; ++i) feed(std::span(bytes).first(bytes.size() - 1 - static_cast<std::size_t>(i)));
  EXPECT_TRUE(feed(bytes));
}

}  // namespace
}  // namespace opennrt::neff
