// SPDX-License-Identifier: Apache-2.0
//
// Hundreds of damaged and hostile NEFFs through the front door, over the simulated chip, with fixed seeds: each is
// refused with a reason or loaded, run to a documented end and unloaded; nothing is left behind, and a model that was
// loaded before all of them computes the right values throughout (requirements E5, E7, G2, G3).
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "models/compiler.h"
#include "tests/support/model_builder.h"
#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"
#include "tests/unit/tools/process.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OPENNRT_SANITIZED 1
#else
#define OPENNRT_SANITIZED 0
#endif

namespace opennrt::test {
namespace {

constexpr std::uint32_t kPartitions = 8, kColumns = 16;
constexpr std::size_t kCount = kPartitions * kColumns;
constexpr int kCheckEvery = 50, kFlood = 20'000;
// An execution that computes may be slow under a sanitizer; one that hangs never comes back.
constexpr double kLongestSeconds = OPENNRT_SANITIZED ? 60 : 10;

/// A sum over three engines, with constants that go through DRAM: every kind of variable, queue and file.
NeffBuilder sum_neff() {
  auto b = binary_program(isa::Alu::kAdd, kPartitions, kColumns);
  const auto npy = b.constant("w", std::vector<std::byte>(1024, std::byte{3}), "w.npy");
  const auto raw = b.constant("raw", std::vector<std::byte>(1000, std::byte{5}), "raw.bin");
  const auto scratch = b.variable("scratch", neff::VariableType::kTmpBuf, 4096);
  const auto move = b.queue("move", neff::QueueType::kData, isa::Engine::kPool);
  b.dma(move, 1, SubgraphBuilder::flat(npy, 1024), SubgraphBuilder::flat(scratch, 1024)).semaphore = 5;
  b.dma(move, 1, SubgraphBuilder::flat(raw, 1000), SubgraphBuilder::flat(scratch, 1000, 2048)).semaphore = 5;
  b.trigger(isa::Engine::kPool, 1);
  b.wait(isa::Engine::kPool, 5, 2);
  return NeffBuilder::of(b.graph);
}

/// The digits network: hundreds of instructions as the compiler writes them.
NeffBuilder digits_neff() {
  const char* source = std::getenv("OPENNRT_SOURCE_DIR");
  const std::string model =
      read_text(std::filesystem::path(source != nullptr ? source : ".") / "models/zoo/digits/digits.onnx");
  const auto file = compile::compile_onnx(std::as_bytes(std::span(model)), {});
  if (!file) throw std::runtime_error(file.error().message);
  const auto parsed = neff::parse(*file);
  if (!parsed) throw std::runtime_error(parsed.error().message);
  return NeffBuilder::of(parsed->subgraphs.at(0));
}

const std::set<NRT_STATUS> kRefusals{NRT_INVALID, NRT_RESOURCE, NRT_UNSUPPORTED_NEFF_VERSION, NRT_LOAD_NOT_ENOUGH_NC};
// NRT_INVALID: an illegal instruction. NRT_EXEC_UNIT_UNRECOVERABLE is not among them: nothing that a NEFF says breaks a
// core for good.
const std::set<NRT_STATUS> kOutcomes{NRT_SUCCESS,
                                     NRT_INVALID,
                                     NRT_TIMEOUT,
                                     NRT_EXEC_COMPLETED_WITH_NUM_ERR,
                                     NRT_EXEC_COMPLETED_WITH_ERR,
                                     NRT_EXEC_OOB,
                                     NRT_EXEC_HW_ERR_DMA_ABORT,
                                     NRT_EXEC_SW_NQ_OVERFLOW};

class FrontDoorFuzz : public ::testing::Test {
 protected:
  void SetUp() override {
    log_ = (folder_ / "log").string();
    setenv("NEURON_RT_LOG_LOCATION", log_.c_str(), 1);
    setenv("NEURON_RT_LOG_LEVEL", "ERROR", 1);
    ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << new_log();
    good_ = sum_neff().build();
    ASSERT_EQ(nrt_load(good_.data(), good_.size(), 0, 1, &resident_), NRT_SUCCESS) << new_log();
    ASSERT_NO_FATAL_FAILURE(check_runtime());
    start_ = used();
  }
  void TearDown() override {
    check_runtime();
    EXPECT_EQ(used(), start_);
    EXPECT_EQ(nrt_unload(resident_), NRT_SUCCESS);
    nrt_close();
    std::string summary;
    for (const auto& [what, count] : tally_) summary += what + " " + std::to_string(count) + ", ";
    RecordProperty("endings", summary);
    std::printf("           %d files: %s%zu refusals of different words\n", fed_, summary.c_str(), reasons_.size());
  }

  /// The whole way of one file: load, run with zeros, unload; and every kCheckEvery files, is all as it was?
  void feed(std::span<const std::byte> file, const std::string& what) {
    SCOPED_TRACE(what);
    const auto begin = std::chrono::steady_clock::now();
    nrt_model_t* model = nullptr;
    const NRT_STATUS loaded = nrt_load(file.data(), file.size(), 0, -1, &model);
    if (loaded == NRT_SUCCESS) {
      ++loaded_;
      run_with_zeros(model);
      EXPECT_EQ(nrt_unload(model), NRT_SUCCESS) << new_log();
      new_log();
    } else {
      ++tally_[std::string("load ") + nrt_get_status_as_str(loaded)];
      EXPECT_EQ(kRefusals.count(loaded), 1u) << nrt_get_status_as_str(loaded) << "\n" << new_log();
      EXPECT_EQ(model, nullptr);
      expect_reason(new_log());
    }
    EXPECT_EQ(used(), start_) << "device memory of the four cores";
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(seconds.count(), kLongestSeconds);
    if (++fed_ % kCheckEvery == 0) check_runtime();
    // What is kept for good (logs, arenas of the allocator) is there after the first files.
    if (fed_ == kCheckEvery) {
      descriptors_ = open_descriptors();
      mappings_ = mappings();
    }
    if (fed_ > kCheckEvery && fed_ % kCheckEvery == 0) {
      EXPECT_LE(open_descriptors(), descriptors_);
      // A mapping left by each file would be kCheckEvery more; the allocator's own come and go.
      EXPECT_LE(mappings(), mappings_ + kCheckEvery / 2);
    }
  }
  void feed(const NeffBuilder& builder, const std::string& what) { feed(builder.build(), what); }

  /// The resident model and a fresh one give the right sums.
  void check_runtime() {
    ASSERT_NO_FATAL_FAILURE(check_sum(resident_));
    nrt_model_t* fresh = nullptr;
    ASSERT_EQ(nrt_load(good_.data(), good_.size(), 0, 1, &fresh), NRT_SUCCESS) << new_log();
    check_sum(fresh);
    ASSERT_EQ(nrt_unload(fresh), NRT_SUCCESS);
  }

  int fed_ = 0, loaded_ = 0;
  std::map<std::string, int> tally_;
  std::set<std::string> reasons_;

 private:
  void check_sum(nrt_model_t* model) {
    std::vector<float> a(kCount), b(kCount), out(kCount, -1.0f);
    for (std::size_t i = 0; i < kCount; ++i) {
      a[i] = static_cast<float>(i) * 0.5f;
      b[i] = 100.0f - static_cast<float>(i + static_cast<std::size_t>(fed_) % 97);
    }
    nrt_tensor_set_t *in = nullptr, *outputs = nullptr;
    ASSERT_EQ(nrt_allocate_tensor_set(&in), NRT_SUCCESS);
    ASSERT_EQ(nrt_allocate_tensor_set(&outputs), NRT_SUCCESS);
    std::array<nrt_tensor_t*, 3> tensors{};
    const std::array<std::vector<float>*, 3> values{&a, &b, &out};
    const std::array<const char*, 3> names{"a", "b", "out"};
    for (std::size_t i = 0; i < 3; ++i) {
      ASSERT_EQ(nrt_tensor_allocate_empty(names[i], &tensors[i]), NRT_SUCCESS);
      ASSERT_EQ(nrt_tensor_attach_buffer(tensors[i], values[i]->data(), kCount * sizeof(float)), NRT_SUCCESS);
      ASSERT_EQ(nrt_add_tensor_to_tensor_set(i < 2 ? in : outputs, names[i], tensors[i]), NRT_SUCCESS);
    }
    ASSERT_EQ(nrt_execute(model, in, outputs), NRT_SUCCESS) << new_log();
    for (std::size_t i = 0; i < kCount; ++i) ASSERT_EQ(out[i], a[i] + b[i]) << i;
    for (nrt_tensor_t*& tensor : tensors) nrt_tensor_free(&tensor);
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&outputs);
  }

  void run_with_zeros(nrt_model_t* model) {
    nrt_tensor_info_array_t* info = nullptr;
    ASSERT_EQ(nrt_get_model_tensor_info(model, &info), NRT_SUCCESS) << new_log();
    nrt_tensor_set_t *in = nullptr, *out = nullptr;
    ASSERT_EQ(nrt_allocate_tensor_set(&in), NRT_SUCCESS);
    ASSERT_EQ(nrt_allocate_tensor_set(&out), NRT_SUCCESS);
    std::vector<nrt_tensor_t*> tensors;
    for (std::uint64_t i = 0; i < info->tensor_count; ++i) {
      const nrt_tensor_info_t& t = info->tensor_array[i];
      nrt_tensor_t* tensor = nullptr;
      ASSERT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, t.size, t.name, &tensor), NRT_SUCCESS)
          << new_log();
      tensors.push_back(tensor);
      ASSERT_EQ(nrt_add_tensor_to_tensor_set(t.usage == NRT_TENSOR_USAGE_INPUT ? in : out, t.name, tensor),
                NRT_SUCCESS);
    }
    EXPECT_EQ(nrt_free_model_tensor_info(info), NRT_SUCCESS);
    // Twice: what the first one left behind must not stop the second one either.
    for (int i = 0; i < 2; ++i) {
      const NRT_STATUS status = nrt_execute(model, in, out);
      const std::string said = new_log();
      ++tally_[std::string("run ") + nrt_get_status_as_str(status)];
      EXPECT_EQ(kOutcomes.count(status), 1u) << nrt_get_status_as_str(status) << "\n" << said;
      if (status != NRT_SUCCESS) expect_reason(said);
    }
    for (nrt_tensor_t*& tensor : tensors) nrt_tensor_free(&tensor);
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
  }

  /// The log has an ERROR line of the documented form (requirement C1), with a text.
  void expect_reason(const std::string& said) {
    std::istringstream lines(said);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t level = line.find(" ERROR "), component = line.find("NRT:", level);
      if (level == std::string::npos || component == std::string::npos) continue;
      const std::size_t text = line.find_first_not_of(' ', line.find(' ', component));
      if (text == std::string::npos) continue;
      reasons_.insert(line.substr(text));
      return;
    }
    ADD_FAILURE() << "no ERROR line with a text in: '" << said << "'";
  }

  /// What was logged since the last time.
  std::string new_log() {
    std::ifstream file(log_);
    file.seekg(static_cast<std::streamoff>(log_read_));
    std::string text{std::istreambuf_iterator<char>(file), {}};
    log_read_ += text.size();
    return text;
  }

  static std::array<std::size_t, 4> used() {
    std::array<std::size_t, 4> bytes{};
    for (std::uint32_t core = 0; core < bytes.size(); ++core) {
      nrt_vnc_memory_stats_t stats{};
      EXPECT_EQ(nrt_get_vnc_memory_stats(core, &stats, sizeof(stats), nullptr), NRT_SUCCESS);
      bytes[core] = stats.bytes_used;
    }
    return bytes;
  }
  static std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  }
  static std::ptrdiff_t mappings() {
    std::ifstream maps("/proc/self/maps");
    return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
  }

  TemporaryFolder folder_;
  std::string log_;
  std::size_t log_read_ = 0;
  std::vector<std::byte> good_;
  nrt_model_t* resident_ = nullptr;
  std::array<std::size_t, 4> start_{};
  std::ptrdiff_t descriptors_ = 0, mappings_ = 0;
};

void flip(std::vector<std::byte>& bytes, std::mt19937& random) {
  if (!bytes.empty()) bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << random() % 8);
}

TEST_F(FrontDoorFuzz, givenTruncatedFilesWhenLoadedThenEachIsRefused) {
  for (const bool gzip : {true, false}) {
    NeffBuilder b = sum_neff();
    b.gzip = gzip;
    const auto file = b.build(), payload = b.payload();
    for (std::size_t i = 0; i < 60; ++i)
      feed(std::span(file).first(file.size() * i / 60), "cut to " + std::to_string(i) + "/60");
    // The header agrees with what is left of the archive.
    for (std::size_t i = 1; i < 40; ++i) {
      const std::span cut = std::span(payload).first(payload.size() * i / 80);
      feed(b.wrap({cut.begin(), cut.end()}), "payload cut to " + std::to_string(i) + "/80");
    }
  }
  EXPECT_EQ(loaded_, 0);
  EXPECT_GE(reasons_.size(), 5u);
}

TEST_F(FrontDoorFuzz, givenFlippedBitsInTheContainerWhenLoadedThenEachIsRefusedOrRuns) {
  std::mt19937 random(20260201);
  for (const bool gzip : {true, false}) {
    NeffBuilder b = sum_neff();
    b.gzip = gzip;
    const auto file = b.build();
    for (int i = 0; i < 150; ++i) {
      auto damaged = file;
      for (unsigned n = 1 + random() % 4; n > 0; --n) flip(damaged, random);
      feed(damaged, "bits of the container, file " + std::to_string(i));
    }
  }
  EXPECT_GT(fed_ - loaded_, 50);
  EXPECT_GT(loaded_, 5);
}

TEST_F(FrontDoorFuzz, givenFlippedBitsInInstructionsWhenLoadedThenEachIsRefusedOrRunsToADocumentedEnd) {
  std::mt19937 random(20260202);
  for (const NeffBuilder& good : {sum_neff(), digits_neff()}) {
    for (int i = 0; i < 240; ++i) {
      static constexpr const char* kStreams[] = {"sg00/pe.bin", "sg00/act.bin", "sg00/pool.bin"};
      NeffBuilder b = good;
      b.gzip = false;
      const std::string path = kStreams[i % 3];
      for (unsigned n = 1 + random() % 3; n > 0; --n) flip(b.files.at(path), random);
      feed(b, path + ", file " + std::to_string(i));
    }
  }
  EXPECT_GT(fed_ - loaded_, 50) << "refused";
  EXPECT_GT(loaded_, 25);
  EXPECT_GT(tally_["run NRT_TIMEOUT"], 0) << "a wait for what never comes";
}

/// Puts a field of an instruction to any value that the decoder lets pass: most of these load, and run.
TEST_F(FrontDoorFuzz, givenInstructionsWithWildFieldsWhenLoadedThenEachIsRefusedOrRunsToADocumentedEnd) {
  std::mt19937 random(20260203);
  const NeffBuilder good = digits_neff();
  for (int i = 0; i < 300; ++i) {
    static constexpr isa::Engine kEngines[] = {isa::Engine::kPe, isa::Engine::kAct, isa::Engine::kPool};
    NeffBuilder b = good;
    b.gzip = false;
    const std::string path = "sg00/" + std::string(isa::engine_name(kEngines[i % 3])) + ".bin";
    auto& stream = b.files.at(path);
    ASSERT_GE(stream.size(), 64u);
    // Wait, signal, partitions and counts, offsets, steps: little-endian halves of the instruction.
    static constexpr std::size_t kHalves[] = {2,  4,  6,  8,  16, 18, 20, 22, 24, 26,
                                              28, 30, 36, 38, 40, 42, 48, 50, 52, 60};
    const std::size_t at = random() % (stream.size() / 64) * 64 + kHalves[random() % std::size(kHalves)];
    static constexpr std::uint16_t kValues[] = {0, 1, 2, 3, 64, 127, 128, 255, 512, 0x7fff, 0x8000, 0xffff};
    const std::uint16_t value = kValues[random() % std::size(kValues)];
    stream[at] = static_cast<std::byte>(value & 0xff);
    stream[at + 1] = static_cast<std::byte>(value >> 8);
    feed(b, path + " byte " + std::to_string(at) + " is " + std::to_string(value));
  }
  EXPECT_GT(loaded_, 20);
}

/// Every number of the JSON files in turn: DMA offsets, sizes, steps, semaphores, variable sizes, shapes.
void numbers(const OrderedJson& json, const std::string& at, std::vector<std::string>& out) {
  if (json.is_number()) out.push_back(at);
  if (json.is_object())
    for (const auto& [key, value] : json.items()) numbers(value, at + "/" + key, out);
  if (json.is_array())
    for (std::size_t i = 0; i < json.size(); ++i) numbers(json[i], at + "/" + std::to_string(i), out);
}

TEST_F(FrontDoorFuzz, givenHostileNumbersAtEveryPlaceWhenLoadedThenEachIsRefusedOrRunsToADocumentedEnd) {
  const NeffBuilder good = sum_neff();
  // Small ones load and move other bytes than meant; large ones leave every memory there is.
  const std::vector<OrderedJson> hostile{0,         1,         3, 31, 40, -4, 4096, 1 << 20, std::int64_t{1} << 33,
                                         INT64_MAX, UINT64_MAX};
  for (const auto& [path, data] : good.files) {
    if (!path.ends_with(".json")) continue;
    std::vector<std::string> places;
    numbers(good.json(path), "", places);
    for (const std::string& place : places) {
      for (const OrderedJson& value : hostile) {
        NeffBuilder b = good;
        b.gzip = false;
        b.edit(path, [&](OrderedJson& json) { json[OrderedJson::json_pointer(place)] = value; });
        feed(b, path + " " + place + " is " + value.dump());
      }
    }
  }
  EXPECT_GT(fed_, 300);
  EXPECT_GT(loaded_, 30);
  EXPECT_GT(fed_ - loaded_, 200);
  EXPECT_GT(reasons_.size(), 30u);
}

/// How subgraphs and CPU nodes hang together: shapes, references, attributes.
TEST_F(FrontDoorFuzz, givenHostileValuesInAGraphOfSeveralStepsWhenLoadedThenEachIsRefusedOrRunsToADocumentedEnd) {
  const NeffBuilder good = test::every_step().files();
  std::vector<std::string> places, attributes;
  numbers(good.json("neff.json"), "", places);
  const OrderedJson graph = good.json("neff.json");
  for (const char* node : {"2", "4"})
    for (const auto& [key, value] : graph["nodes"][std::stoul(node)]["attrs"].items())
      attributes.push_back("/nodes/" + std::string(node) + "/attrs/" + key);
  const auto put = [&](const std::string& place, const OrderedJson& value) {
    NeffBuilder b = good;
    b.gzip = false;
    b.edit("neff.json", [&](OrderedJson& json) { json[OrderedJson::json_pointer(place)] = value; });
    feed(b, place + " is " + value.dump());
  };
  for (const std::string& place : places)
    for (const OrderedJson& value : {OrderedJson(0), OrderedJson(1), OrderedJson(3), OrderedJson(-4),
                                     OrderedJson(1 << 20), OrderedJson(UINT32_MAX), OrderedJson(UINT64_MAX)})
      put(place, value);
  for (const std::string& place : attributes)
    for (const char* value : {"", "0", "-1", "2", "99999999999999999999", "x", "opennrt.cast", "opennrt.topk", "ids,x"})
      put(place, value);
  EXPECT_GT(loaded_, 10);
  EXPECT_GT(fed_ - loaded_, 100);
  EXPECT_GT(reasons_.size(), 30u);
}

TEST_F(FrontDoorFuzz, givenFlippedBitsInEveryOtherFileWhenLoadedThenEachIsRefusedOrRunsToADocumentedEnd) {
  std::mt19937 random(20260204);
  const NeffBuilder good = sum_neff();
  for (const auto& [path, data] : good.files) {
    if (path.ends_with("pe.bin") || path.ends_with("act.bin") || path.ends_with("pool.bin")) continue;
    for (int i = 0; i < 30; ++i) {
      NeffBuilder b = good;
      b.gzip = false;
      for (unsigned n = 1 + random() % 2; n > 0; --n) flip(b.files.at(path), random);
      feed(b, path + ", file " + std::to_string(i));
    }
  }
  EXPECT_GT(loaded_, 20);
  EXPECT_GT(fed_ - loaded_, 50);
}

/// Faults that random bits seldom make, one by one, with the ending that each must have.
TEST_F(FrontDoorFuzz, givenProgramsThatNeverEndOrLeaveTheirMemoriesWhenRunThenEachEndsAsDocumented) {
  const auto ends = [&](const SubgraphBuilder& b, const std::string& what, const char* how) {
    const int before = tally_[how];
    feed(NeffBuilder::of(b.graph), what);
    EXPECT_GT(tally_[how], before) << what << ": expected " << how;
  };
  for (int round = 0; round < 10; ++round) {
    auto hang = copy_program(4, 16);
    hang.wait(isa::Engine::kPe, static_cast<std::uint8_t>(9 + round));
    ends(hang, "a wait for a semaphore that nobody signals", "run NRT_TIMEOUT");
    auto outside = copy_program(4, 16);
    outside.graph.engines[static_cast<std::size_t>(isa::Engine::kPool)].dma[0].to.offset = std::uint64_t{1} << 40;
    ends(outside, "a transfer past the end of its variable", "load NRT_INVALID");
    auto gap = copy_program(4, 16);
    // Between two partitions there are addresses without memory behind them.
    gap.graph.engines[static_cast<std::size_t>(isa::Engine::kPool)].dma[0].to.offset =
        inf1::chosen::kSbufPartitionStride - 64;
    ends(gap, "a transfer into the hole between two partitions", "load NRT_INVALID");
    auto large = copy_program(4, 16);
    for (const char* name : {"x", "y"}) large.variable(name, neff::VariableType::kTmpBuf, std::uint64_t{7} << 30);
    ends(large, "scratchpads larger than the device", "load NRT_RESOURCE");
    auto underflow = copy_program(4, 16);
    isa::Instruction below;
    below.signal = {isa::SignalMode::kDecrement, 20, 1};
    underflow.add(isa::Engine::kAct, below);
    ends(underflow, "a semaphore counted below zero", "run NRT_EXEC_COMPLETED_WITH_ERR");
    auto unloaded = copy_program(4, 16);
    isa::Instruction matmul;
    matmul.opcode = isa::Opcode::kMatmul;
    matmul.partitions = 4;
    matmul.counts = {16, 1, 1, 1};
    matmul.op1 = 4;
    matmul.src0.steps = matmul.dst.steps = {1, 0, 0, 0};
    matmul.dst.space = isa::Space::kPsum;
    unloaded.add(isa::Engine::kPe, matmul);
    ends(unloaded, "a product with a matrix of another shape than the one loaded", "run NRT_INVALID");
    auto stolen = copy_program(4, 16);
    isa::Instruction ring;
    ring.opcode = isa::Opcode::kDmaTrigger;
    ring.dma = {0, 15, 60000, 60000};
    stolen.add(isa::Engine::kPool, ring);
    ends(stolen, "a doorbell of a queue that is the driver's", "load NRT_INVALID");
    auto unknown = copy_program(4, 16);
    unknown.engine(isa::Engine::kAct)
        .instructions.insert(unknown.engine(isa::Engine::kAct).instructions.end(), 64, std::byte{0xee});
    ends(unknown, "an instruction that is none", "load NRT_INVALID");
    check_runtime();
  }
  // The driver reads notifications while a program runs; whether that keeps up is the host's matter: it succeeds, or says
  // what was lost.
  auto flood = copy_program(4, 16);
  isa::Instruction notify;
  notify.opcode = isa::Opcode::kNotify;
  notify.immediate_u32 = 7;
  for (int i = 0; i < kFlood; ++i) flood.add(isa::Engine::kAct, notify);
  feed(NeffBuilder::of(flood.graph), "a flood of notifications");
  EXPECT_EQ(tally_["run NRT_SUCCESS"] + tally_["run NRT_EXEC_SW_NQ_OVERFLOW"], 2);
}

}  // namespace
}  // namespace opennrt::test
