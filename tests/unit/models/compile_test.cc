// SPDX-License-Identifier: Apache-2.0
//
// The compiler without a device: errors, determinism, the file it writes, hostile input, and the synchronisation of the streams.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <stdexcept>

#include "core/isa/footprint.h"
#include "core/isa/table.h"
#include "core/neff/neff.h"
#include "models/compiler.h"
#include "models/graph/graph.h"
#include "models/lower/arena.h"
#include "models/lower/constants.h"
#include "models/lower/intervals.h"
#include "models/onnx/builder.h"
#include "models/onnx/model.h"

namespace opennrt::compile {
namespace {

using ::testing::HasSubstr;
using B = OnnxBuilder;
using A = OnnxBuilder::Attributes;

Error error_of(const std::vector<std::byte>& model) {
  auto r = compile_onnx(model, {});
  EXPECT_FALSE(r);
  return r ? Error{} : r.error();
}
std::vector<std::byte> one_node(const std::string& op, std::vector<std::int64_t> shape, const A& a = {}) {
  B b("test");
  b.input("x", shape);
  b.node(op, {"x"}, a, "y");
  b.output("y", {});
  return b.serialise();
}

TEST(Compile, GivenAnUnknownOperatorWhenCompiledThenOperatorAndNodeAreNamed) {
  const Error e = error_of(one_node("LSTM", {1, 2}));
  EXPECT_EQ(e.code, ErrorCode::kUnsupported);
  EXPECT_THAT(e.message, HasSubstr("node 'LSTM_0' (LSTM)"));
}
TEST(Compile, GivenAnUnknownAttributeWhenCompiledThenItIsNamed) {
  A a;
  a.ints["storage_class"] = 1;
  EXPECT_THAT(error_of(one_node("Relu", {1, 2}, a)).message, HasSubstr("attribute 'storage_class' is not supported"));
}
TEST(Compile, GivenCeilModeThatMattersWhenCompiledThenItIsRefused) {
  A a;
  a.ints["ceil_mode"] = 1;
  a.lists = {{"kernel_shape", {2, 2}}, {"strides", {2, 2}}};
  EXPECT_EQ(error_of(one_node("MaxPool", {1, 1, 5, 5}, a)).code, ErrorCode::kUnsupported);
  EXPECT_THAT(error_of(one_node("MaxPool", {1, 1, 5, 5}, a)).message, HasSubstr("ceil_mode"));
  EXPECT_TRUE(compile_onnx(one_node("MaxPool", {1, 1, 4, 4}, a), {}));
}
TEST(Compile, GivenAWindowLargerThanTheInputWhenCompiledThenItIsRefused) {
  A a;
  a.lists = {{"kernel_shape", {9, 2}}};
  EXPECT_THAT(error_of(one_node("MaxPool", {1, 1, 5, 5}, a)).message,
              HasSubstr("covers 9 elements of dimension 2, which has 5"));
}
TEST(Compile, GivenAReferenceToNothingWhenCompiledThenItIsNamed) {
  B b("test");
  b.input("x", {1, 2});
  b.node("Add", {"x", "nowhere"}, {}, "y");
  b.output("y", {});
  EXPECT_EQ(error_of(b.serialise()).code, ErrorCode::kInvalidFile);
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("input 1 is 'nowhere'"));
}
TEST(Compile, GivenShapesThatDoNotBroadcastWhenCompiledThenBothAreNamed) {
  B b("test");
  b.input("x", {1, 2});
  b.input("z", {1, 3});
  b.node("Add", {"x", "z"}, {}, "y");
  b.output("y", {});
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("1x2 and 1x3 do not broadcast"));
}
TEST(Compile, GivenADeclaredOutputShapeThatIsWrongWhenCompiledThenBothAreNamed) {
  B b("test");
  b.input("x", {1, 2});
  b.node("Relu", {"x"}, {}, "y");
  b.output("y", {1, 3});
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("declared as 1x3, but it is 1x2"));
}
TEST(Compile, GivenAReshapeToAnotherSizeWhenCompiledThenBothCountsAreNamed) {
  B b("test");
  b.input("x", {2, 6});
  b.constant_ints("s", {5});
  b.node("Reshape", {"x", "s"}, {}, "y");
  b.output("y", {});
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("5 elements, expected 12"));
}
TEST(Compile, GivenASymbolicDimensionWhenCompiledThenItIsRefused) {
  B b("test");
  b.input("x", {0, 2});
  b.node("Relu", {"x"}, {}, "y");
  b.output("y", {});
  EXPECT_THAT(error_of(b.serialise()).message, HasSubstr("dimension 0 is 0"));
}
TEST(Compile, GivenNoBytesWhenCompiledThenItSaysSo) {
  EXPECT_THAT(error_of({}).message, HasSubstr("empty"));
}

TEST(Compile, GivenTheSameModelWhenCompiledTwiceThenTheBytesAreTheSame) {
  const auto model = make_resnet_small(1);
  auto a = compile_onnx(model, {}), b = compile_onnx(model, {});
  ASSERT_TRUE(a && b);
  EXPECT_EQ(*a, *b);
}

TEST(Compile, GivenAModelWhenCompiledThenTheFileIsAValidNeffWithItsTensors) {
  Options options;
  options.name = "lenet-5";
  Report report;
  auto file = compile_onnx(make_lenet(3), options, &report);
  ASSERT_TRUE(file) << file.error().message;
  neff::ParseOptions parse;
  parse.validate_hash = true;
  auto neff = neff::parse(*file, parse);
  ASSERT_TRUE(neff) << neff.error().message;
  EXPECT_EQ(neff->header.name, "lenet-5");
  EXPECT_EQ(neff->target, "opennrt-1");
  ASSERT_EQ(neff->subgraphs.size(), 1u);
  const auto& g = neff->subgraphs[0];
  ASSERT_EQ(g.tensors.size(), 2u);
  EXPECT_EQ(g.tensors[0].name, "image");
  EXPECT_EQ(g.tensors[0].shape, (std::vector<std::uint32_t>{3, 1, 28, 28}));
  EXPECT_EQ(g.tensors[1].name, "probabilities");
  EXPECT_EQ(g.tensors[1].bytes, 3u * 10 * 4);
  for (std::size_t e = 0; e < isa::kEngines; ++e) {
    EXPECT_EQ(g.engines[e].instructions.size(), report.instructions[e] * isa::kInstructionBytes);
    auto valid = isa::validate_stream(g.engines[e].instructions, static_cast<isa::Engine>(e));
    EXPECT_TRUE(valid) << valid.error().message;
  }
  EXPECT_EQ(report.macs, 3u * (6 * 28 * 28 * 25 + 16 * 100 * 150 + 400 * 120 + 120 * 84 + 84 * 10));
}

TEST(Compile, GivenResnet50AtFullSizeWhenCompiledThenItFits) {
  Options options;
  options.auto_cast = Options::AutoCast::kMatmult;
  Report report;
  auto file = compile_onnx(make_resnet50_shape(), options, &report);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_LE(report.sbuf_peak_bytes_per_partition, options.limits.sbuf_bytes_per_partition);
  EXPECT_EQ(report.macs, 4'089'184'256u);
}

TEST(Compile, GivenTruncatedModelsWhenCompiledThenEachIsAnErrorOrAModel) {
  const auto good = make_lenet();
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    const std::size_t size = i < 100 ? static_cast<std::size_t>(i) : random() % good.size();
    auto r = compile_onnx(std::span(good).first(size), {});
    if (!r) {
      ++refused;
      EXPECT_FALSE(r.error().message.empty());
      EXPECT_NE(r.error().code, ErrorCode::kInternal) << r.error().message;
    }
  }
  EXPECT_GE(refused, 295);
}

TEST(Compile, GivenFlippedBitsWhenCompiledThenNothingBreaks) {
  // Without weights to speak of: most flips hit structure.
  B b("test");
  b.input("x", {1, 2, 6, 6});
  auto v = b.node("Relu", {b.conv("x", 2, 3, 3, 1, 1)});
  A pool;
  pool.lists = {{"kernel_shape", {2, 2}}, {"strides", {2, 2}}};
  v = b.node("Softmax", {b.node("Flatten", {b.node("MaxPool", {v}, pool)})}, {}, "y");
  b.output("y", {1, 27});
  const auto good = b.serialise();
  ASSERT_TRUE(compile_onnx(good, {}));
  std::mt19937 random(2);
  int refused = 0;
  for (int i = 0; i < 600; ++i) {
    auto bad = good;
    for (int flips = 0; flips < 1 + i % 4; ++flips)
      bad[random() % bad.size()] ^= static_cast<std::byte>(1u << (random() % 8));
    auto r = compile_onnx(bad, {});
    if (r) continue;
    ++refused;
    EXPECT_FALSE(r.error().message.empty());
    EXPECT_NE(r.error().code, ErrorCode::kInternal) << r.error().message;
  }
  EXPECT_GT(refused, 200);
}

// ---- passes ----

graph::Graph simplified(const std::vector<std::byte>& bytes) {
  auto model = onnx_model::import_model(bytes);
  EXPECT_TRUE(model);
  auto g = graph::type_model(std::move(*model));
  EXPECT_TRUE(g) << g.error().message;
  graph::simplify(*g);
  graph::assign_types(*g, Options::AutoCast::kNone);
  return std::move(*g);
}

TEST(Passes, GivenResnet8WhenSimplifiedThenBatchNormAndReluAreInTheConvolutions) {
  const auto g = simplified(make_resnet_small(1));
  std::size_t convolutions = 0, activated = 0;
  for (const auto& n : g.nodes) {
    EXPECT_FALSE(n.as<graph::ScaleShift>());
    if (const auto* c = n.as<graph::Conv>()) {
      ++convolutions;
      activated += c->activation == isa::Activation::kRelu;
    }
  }
  EXPECT_EQ(convolutions, 10u);  // 1 + 3 × 2 + 2 shortcuts, and the dense layer
  EXPECT_EQ(activated, 4u);
}

TEST(Passes, GivenADenseLayerOnAFlattenedTensorWhenSimplifiedThenNothingIsMoved) {
  const auto g = simplified(make_lenet());
  for (const auto& n : g.nodes) EXPECT_FALSE(n.as<graph::Reshape>());
}

// ---- parts ----

TEST(Arena, GivenBuffersWhenTheyAreGivenBackThenTheHoleIsWholeAgain) {
  lower::Arena arena(100, 10'000);
  std::mt19937 random(3);
  {
    std::vector<std::shared_ptr<lower::Arena::Buffer>> out;
    for (int i = 0; i < 2000; ++i) {
      if (!out.empty() && random() % 2) {
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(random() % out.size()));
        continue;
      }
      auto b = arena.allocate(random() % 900 + 1);
      if (!b) continue;
      EXPECT_GE(b->offset(), 100u);
      EXPECT_LE(b->offset() + b->bytes(), 10'000u);
      for (const auto& other : out)
        EXPECT_TRUE(b->offset() + b->bytes() <= other->offset() || other->offset() + other->bytes() <= b->offset());
      out.push_back(std::move(b));
    }
  }
  EXPECT_EQ(arena.largest_hole(), arena.size());
  EXPECT_LE(arena.peak(), arena.size());
}

TEST(Intervals, GivenRandomAccessesWhenVisitedThenTheyEqualAnArrayOfBytes) {
  lower::IntervalMap<int> map;
  std::vector<int> bytes(300, 0);
  std::mt19937 random(4);
  for (int i = 1; i < 3000; ++i) {
    const std::uint64_t begin = random() % 290, end = begin + 1 + random() % (299 - begin);
    if (random() % 2) {
      map.assign(begin, end, i);
      std::fill(bytes.begin() + static_cast<long>(begin), bytes.begin() + static_cast<long>(end), i);
    } else {
      map.update(begin, end, [](int& v) { ++v; });
      for (auto b = begin; b < end; ++b) ++bytes[b];
    }
    const std::uint64_t from = random() % 290, to = from + 1 + random() % (299 - from);
    std::set<int> got, want(bytes.begin() + static_cast<long>(from), bytes.begin() + static_cast<long>(to));
    map.visit(from, to, [&](int v) { got.insert(v); });
    got.erase(0);
    want.erase(0);
    ASSERT_EQ(got, want);
  }
}

TEST(Constants, GivenFloatsWhenRoundedToBf16ThenTiesGoToEven) {
  EXPECT_EQ(lower::to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(lower::to_bf16(1.00390625f), 0x3f80);  // 1 + 2^-8, half way: to even
  EXPECT_EQ(lower::to_bf16(1.01171875f), 0x3f82);  // 1 + 3 * 2^-8, half way: to even
  EXPECT_EQ(lower::to_bf16(-3.4e38f), 0xff80);     // rounds to infinity
  EXPECT_NE(lower::to_bf16(std::nanf("")) & 0x7f, 0);
}

// ---- synchronisation ----

/// Runs the streams abstractly in a random order of engines and queues. Finishes only when nothing deadlocks and every semaphore
/// ends at 0. Conflicting accesses must be ordered by the semaphores alone: a vector clock per engine and queue tells.
class Streams {
 public:
  explicit Streams(const neff::Subgraph& g, unsigned seed) : g_(g), random_(seed) {
    for (std::size_t e = 0; e < isa::kEngines; ++e) {
      auto decoded = isa::decode_stream(g.engines[e].instructions);
      if (!decoded) throw std::runtime_error(decoded.error().message);
      code_[e] = *decoded;
    }
    agents_ = isa::kEngines + g.queues.size();
    clocks_.assign(agents_, Clock(agents_, 0));
    pending_.resize(g.queues.size());
  }

  /// The first thing that is wrong; empty when nothing is.
  std::string run() {
    while (problem_.empty()) {
      std::vector<std::size_t> able;
      for (std::size_t a = 0; a < agents_; ++a) {
        if (can(a)) able.push_back(a);
      }
      if (able.empty()) break;
      step(able[random_() % able.size()]);
    }
    for (std::size_t e = 0; e < isa::kEngines; ++e) expect(at_[e] == code_[e].size(), "an engine is stuck");
    for (const auto& q : pending_) expect(q.empty(), "a queue is stuck");
    for (const auto& s : semaphores_) expect(s.empty(), "a semaphore is not 0 at the end");
    return problem_;
  }
  /// Takes one wait away, and one signal with it, so that the counts still balance.
  bool drop_wait(std::size_t which) {
    for (auto& code : code_) {
      for (auto& in : code) {
        if (in.wait.mode == isa::WaitMode::kNone || which-- > 0) continue;
        const auto semaphore = in.wait.semaphore;
        in.wait = {};
        for (auto& other : code_) {
          for (auto& from : other) {
            if (from.signal.mode == isa::SignalMode::kNone || from.signal.semaphore != semaphore) continue;
            from.signal = {};
            return true;
          }
        }
        return true;  // a transfer's: its count is left over, which is found, too
      }
    }
    return false;
  }

 private:
  using Clock = std::vector<std::uint32_t>;
  struct Touch {
    std::size_t writer = 0;
    std::uint32_t write = 0;
    Clock reads;
  };
  struct Waiting {
    std::vector<const neff::DmaEntry*> entries;
    Clock clock;
  };

  void expect(bool right, const std::string& what) {
    if (!right && problem_.empty()) problem_ = what;
  }
  bool can(std::size_t a) const {
    if (a >= isa::kEngines) return !pending_[a - isa::kEngines].empty();
    if (at_[a] == code_[a].size()) return false;
    const auto& w = code_[a][at_[a]].wait;
    return w.mode == isa::WaitMode::kNone || semaphores_[w.semaphore].size() >= w.value;
  }
  static void join(Clock& into, const Clock& from) {
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
  }
  void touch(std::size_t agent, int memory, std::uint64_t begin, std::uint64_t end, bool write) {
    const Clock& now = clocks_[agent];
    auto& map = memory_[memory];
    const auto check = [&](const Touch& t) {
      expect(t.write <= now[t.writer], fmt::format("agent {} races with a write of {}", agent, t.writer));
      for (std::size_t i = 0; write && i < t.reads.size(); ++i)
        expect(t.reads[i] <= now[i], fmt::format("agent {} races with a read of {}", agent, i));
    };
    map.visit(begin, end, check);
    if (write) {
      map.assign(begin, end, Touch{agent, now[agent], {}});
    } else {
      map.update(begin, end, [&](Touch& t) {
        t.reads.resize(agents_);
        t.reads[agent] = now[agent];
      });
    }
  }
  void side(std::size_t agent, const neff::AccessPattern& p, bool write) {
    const auto& v = g_.variables[p.variable];
    const bool sbuf = v.type == neff::VariableType::kStateBuffer;
    std::int64_t reach = 0;
    for (std::size_t i = 0; i < p.sizes.size(); ++i) {
      if (!sbuf || p.steps[i] < 128 * 1024) reach += p.steps[i] * (static_cast<std::int64_t>(p.sizes[i]) - 1);
    }
    const std::uint64_t begin = sbuf ? p.offset % (128 * 1024) : p.offset;
    touch(agent, sbuf ? 0 : 2 + static_cast<int>(p.variable), begin, begin + static_cast<std::uint64_t>(reach) + 1,
          write);
  }
  void step(std::size_t a) {
    Clock& clock = clocks_[a];
    if (a >= isa::kEngines) {
      auto& queue = pending_[a - isa::kEngines];
      const Waiting w = queue.front();
      queue.erase(queue.begin());
      join(clock, w.clock);
      ++clock[a];
      for (const auto* e : w.entries) {
        side(a, e->from, false);
        side(a, e->to, true);
      }
      for (const auto* e : w.entries) {
        if (e->semaphore) semaphores_[*e->semaphore].push_back(clock);
      }
      return;
    }
    const isa::Instruction& in = code_[a][at_[a]++];
    if (in.wait.mode != isa::WaitMode::kNone) {
      expect(in.wait.mode == isa::WaitMode::kConsume, "a wait does not consume");
      auto& s = semaphores_[in.wait.semaphore];
      for (int i = 0; i < in.wait.value; ++i) {
        join(clock, s.front());
        s.erase(s.begin());
      }
    }
    ++clock[a];
    if (in.opcode == isa::Opcode::kPseudoDmaTrigger) {
      Waiting w;
      w.clock = clock;
      std::size_t queue = 0;
      for (const auto& e : g_.engines[a].dma) {
        if (e.id != in.immediate_u32) continue;
        w.entries.push_back(&e);
        queue = e.queue;
      }
      expect(!w.entries.empty(), "a trigger without a transfer");
      pending_[queue].push_back(std::move(w));
    } else if (const auto* info = isa::find_opcode(in.opcode)) {
      const auto operand = [&](const isa::Operand& o, bool write, bool column = false) {
        const auto f = isa::footprint(o, column ? std::array<std::uint16_t, 4>{1, 1, 1, 1} : in.counts);
        touch(a, o.space == isa::Space::kSbuf ? 0 : 1, static_cast<std::uint64_t>(f.begin),
              static_cast<std::uint64_t>(f.end), write);
      };
      if (info->uses(isa::kFieldSrc0)) operand(in.src0, false);
      if (isa::reads_src1(*info, in)) operand(in.src1, false, info->uses(isa::kFieldSrc1PerPartition));
      if (info->uses(isa::kFieldDst)) operand(in.dst, true);
    }
    if (in.signal.mode != isa::SignalMode::kNone) semaphores_[in.signal.semaphore].push_back(clock);
  }

  const neff::Subgraph& g_;
  std::mt19937 random_;
  std::string problem_;
  std::size_t agents_ = 0;
  std::array<std::vector<isa::Instruction>, isa::kEngines> code_;
  std::array<std::size_t, isa::kEngines> at_{};
  std::vector<std::vector<Waiting>> pending_;
  std::array<std::vector<Clock>, 32> semaphores_;
  std::vector<Clock> clocks_;
  std::map<int, lower::IntervalMap<Touch>> memory_;
};

class SynchronisationOf : public ::testing::TestWithParam<int> {};
TEST_P(SynchronisationOf, GivenAnyOrderOfEnginesAndQueuesWhenRunThenNothingRacesOrHangs) {
  const std::vector<std::byte> models[] = {make_identity(),         make_lenet(),
                                           make_lenet(4),           make_resnet_small(1),
                                           make_resnet_small(2, 3), make_resnet50_shape(1, 1, 64)};
  for (const std::uint32_t kib : {80, 36}) {
    Options options;
    options.limits.sbuf_bytes_per_partition = kib * 1024;
    options.auto_cast = kib == 80 ? Options::AutoCast::kNone : Options::AutoCast::kMatmult;
    auto file = compile_onnx(models[GetParam()], options);
    ASSERT_TRUE(file) << file.error().message;
    auto neff = neff::parse(*file);
    ASSERT_TRUE(neff) << neff.error().message;
    for (unsigned seed = 0; seed < (GetParam() < 5 ? 5u : 1u); ++seed)
      EXPECT_EQ(Streams(neff->subgraphs[0], seed).run(), "");
  }
}
TEST(Synchronisation, GivenSeveralStagesAndDebugValuesWhenRunThenNothingRacesOrHangs) {
  Options options;
  options.limits.sbuf_bytes_per_partition = 36 * 1024;
  options.cores = 3;
  options.debug = {"Conv_0_out", "Add_8_out", "Relu_9_out", "Flatten_27_out"};
  auto file = compile_onnx(make_resnet_small(1, 3), options);
  ASSERT_TRUE(file) << file.error().message;
  auto neff = neff::parse(*file);
  ASSERT_TRUE(neff) << neff.error().message;
  ASSERT_EQ(neff->subgraphs.size(), 3u);
  for (const auto& subgraph : neff->subgraphs) {
    for (unsigned seed = 0; seed < 5; ++seed) EXPECT_EQ(Streams(subgraph, seed).run(), "") << subgraph.name;
  }
}
TEST(Synchronisation, GivenAWaitTakenAwayWhenRunThenTheCheckerFindsIt) {
  auto file = compile_onnx(make_lenet(), {});
  ASSERT_TRUE(file);
  auto neff = neff::parse(*file);
  ASSERT_TRUE(neff);
  // A few waits are implied by the next wait of the same instruction, which the scheduler cannot know when it makes them.
  std::size_t tried = 0, missed = 0;
  for (bool more = true; more; ++tried) {
    bool found = false;
    for (unsigned seed = 0; seed < 20 && !found; ++seed) {
      Streams streams(neff->subgraphs[0], seed);
      more = streams.drop_wait(tried);
      if (!more) break;
      found = !streams.run().empty();
    }
    missed += more && !found;
  }
  EXPECT_GT(tried, 20u);
  EXPECT_LE(missed * 10, tried);
}
INSTANTIATE_TEST_SUITE_P(Models, SynchronisationOf, ::testing::Range(0, 6));

}  // namespace
}  // namespace opennrt::compile
