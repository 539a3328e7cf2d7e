// SPDX-License-Identifier: Apache-2.0
//
// How long programs take on the simulated chip, to the nanosecond: what cycles.json has recorded. Any difference fails, a faster
// program as much as a slower one, until it is recorded with the reason: `./dev golden "<reason>"`, which runs this program with
// OPENNRT_GOLDEN_REASON. Over the emulated device (OPENNRT_BACKEND=neuron) it takes the same.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/umd/umd.h"
#include "models/compiler.h"
#include "models/onnx/builder.h"
#include "tests/support/subgraph_builder.h"
#include "tests/support/umd_fixture.h"

namespace opennrt {
namespace {

using compile::Options;
using isa::Engine;
using isa::Opcode;
using test::SubgraphBuilder;

constexpr std::uint64_t kTimeoutNs = 30'000'000'000;
constexpr std::size_t kShortestReason = 10;

std::string golden_file() {
  return std::string(OPENNRT_GOLDEN_DIR) + "/cycles.json";
}

/// What the program does, in the order of its stages; each on a core of its own.
using Stages = std::vector<neff::Subgraph>;

Stages compiled(const std::vector<std::byte>& onnx, const Options& options) {
  const auto file = compile::compile_onnx(onnx, options);
  if (!file) throw std::runtime_error(file.error().message);
  auto parsed = neff::parse(*file);
  if (!parsed) throw std::runtime_error(parsed.error().message);
  return std::move(parsed->subgraphs);
}

std::vector<std::byte> digits() {
  std::ifstream file(std::string(OPENNRT_GOLDEN_DIR) + "/../../models/zoo/digits/digits.onnx", std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  return {data, data + bytes.size()};
}

isa::Instruction shaped(Opcode opcode, std::uint16_t n, std::uint32_t from, std::uint32_t to) {
  isa::Instruction in;
  in.opcode = opcode;
  in.partitions = 128;
  in.counts = {n, 1, 1, 1};
  in.src0.offset = from;
  in.dst.offset = to;
  in.src0.steps = in.dst.steps = {1, 0, 0, 0};
  return in;
}

/// A small copy, so that there is an input and an output, beside 100 times `body` on one engine.
Stages kernel(Engine engine, const std::vector<isa::Instruction>& body) {
  SubgraphBuilder b = test::copy_program(2, 4);
  for (int i = 0; i < 100; ++i)
    for (const isa::Instruction& in : body) b.add(engine, in);
  return {b.graph};
}

Stages pe_kernel(isa::DataType type, std::uint16_t moving) {
  isa::Instruction load = shaped(Opcode::kLoadStationary, 64, 4096, 0),
                   product = shaped(Opcode::kMatmul, moving, 8192, 0);
  load.dst = {};
  load.src0.dtype = product.src0.dtype = type;
  product.op1 = 64;
  product.dst.space = isa::Space::kPsum;
  return kernel(Engine::kPe, {load, product});
}

Stages pool_kernel() {
  isa::Instruction scale = shaped(Opcode::kTensorScalar, 300, 4096, 8192),
                   add = shaped(Opcode::kTensorTensor, 300, 8192, 12288),
                   sum = shaped(Opcode::kTensorReduce, 300, 12288, 16384),
                   inverse = shaped(Opcode::kMemset, 20, 0, 20480);
  scale.op0 = static_cast<std::uint8_t>(isa::Alu::kMult);
  scale.op1 = add.op0 = sum.op0 = static_cast<std::uint8_t>(isa::Alu::kAdd);
  add.src1 = scale.src0;
  sum.dst.steps = {};
  inverse.src0 = {};
  return kernel(Engine::kPool, {scale, add, sum, inverse});
}

Stages act_kernel() {
  isa::Instruction independent = shaped(Opcode::kActivate, 200, 4096, 8192),
                   dependent = shaped(Opcode::kActivate, 200, 8192, 12288);
  independent.op0 = dependent.op0 = static_cast<std::uint8_t>(isa::Activation::kTanh);
  return kernel(Engine::kAct, {independent, dependent});
}

const std::map<std::string, std::function<Stages()>>& programs() {
  const auto options = [](Options::AutoCast cast, std::size_t cores = 1) {
    Options o;
    o.auto_cast = cast;
    o.cores = cores;
    return o;
  };
  constexpr auto kFp32 = Options::AutoCast::kNone, kBf16 = Options::AutoCast::kMatmult, kAll = Options::AutoCast::kAll;
  static const std::map<std::string, std::function<Stages()>> all = {
      {"kernel: copy of 8 MiB through SBUF", [] { return Stages{test::copy_program(128, 16384).graph}; }},
      {"kernel: copy in rows of 64 bytes", [] { return Stages{test::copy_program(128, 16).graph}; }},
      {"kernel: sum, all engines", [] { return Stages{test::binary_program(isa::Alu::kAdd, 64, 200).graph}; }},
      {"kernel: pe, bf16, N 512", [] { return pe_kernel(isa::DataType::kBf16, 512); }},
      {"kernel: pe, bf16, N 16", [] { return pe_kernel(isa::DataType::kBf16, 16); }},
      {"kernel: pe, fp32, N 512", [] { return pe_kernel(isa::DataType::kFp32, 512); }},
      {"kernel: act", act_kernel},
      {"kernel: pool", pool_kernel},
      {"identity", [=] { return compiled(compile::make_identity(), options(kFp32)); }},
      {"digits, fp32", [=] { return compiled(digits(), options(kFp32)); }},
      {"digits, bf16 matmult", [=] { return compiled(digits(), options(kBf16)); }},
      {"lenet, fp32", [=] { return compiled(compile::make_lenet(), options(kFp32)); }},
      {"lenet, batch 5, bf16", [=] { return compiled(compile::make_lenet(5), options(kAll)); }},
      {"resnet-small, fp32", [=] { return compiled(compile::make_resnet_small(1), options(kFp32)); }},
      {"resnet-small, bf16", [=] { return compiled(compile::make_resnet_small(1), options(kAll)); }},
      {"pipeline: lenet on 3 cores", [=] { return compiled(compile::make_lenet(2), options(kFp32, 3)); }},
      {"pipeline: resnet-small on 4 cores", [=] { return compiled(compile::make_resnet_small(1), options(kBf16, 4)); }},
  };
  return all;
}

class Cycles : public ::testing::Test {
 protected:
  void SetUp() override {
    // The clock stands at a whole microsecond when an inference begins, so its duration is the same nanoseconds everywhere.
    host_.config["OPENNRT_SIM_DETERMINISTIC"] = "1";
    const char* name = std::getenv("OPENNRT_BACKEND");
    auto backend = umd::Backend::open(name != nullptr ? name : "sim", host_.backend_dir(), host_.host);
    ASSERT_TRUE(backend) << backend.error().message;
    auto device = umd::Device::open(*backend, 0);
    ASSERT_TRUE(device) << device.error().message;
    device_ = *device;
  }
  /// Simulated nanoseconds of one inference, all stages together: not the first, which finds the rings unwritten.
  std::uint64_t measure(const Stages& stages) {
    std::uint64_t ns = 0;
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      auto program = umd::Program::load(device_, static_cast<std::uint32_t>(stage), stages[stage]);
      if (!program) {
        ADD_FAILURE() << program.error().message;
        return 0;
      }
      std::map<std::string, std::vector<std::byte>> tensors;
      std::vector<umd::Binding> in, out;
      for (const auto& tensor : stages[stage].tensors) {
        auto& data = tensors[tensor.name];
        data.assign(tensor.bytes, std::byte{0});
        (tensor.kind == neff::TensorKind::kInput ? in : out).push_back({tensor.name, nullptr, 0, data});
      }
      std::uint64_t took[3] = {};
      for (std::uint64_t& one : took) {
        const auto report = (*program)->execute(in, out, kTimeoutNs);
        if (!report || report->outcome != umd::Outcome::kCompleted) {
          ADD_FAILURE() << (report ? report->message : report.error().message) << host_.logged();
          return 0;
        }
        one = report->device_ns;
      }
      EXPECT_EQ(took[1], took[2]) << "two inferences differ";
      ns += took[1];
    }
    return ns;
  }

  test::Host host_;
  std::shared_ptr<umd::Device> device_;
};

TEST_F(Cycles, givenTheRecordedProgramsWhenTheyRunThenEachTakesWhatIsRecorded) {
  const char* reason = std::getenv("OPENNRT_GOLDEN_REASON");
  const bool record = reason != nullptr && *reason != '\0';
  if (record) {
    ASSERT_GE(std::string(reason).size(), kShortestReason)
        << "OPENNRT_GOLDEN_REASON is \"" << reason << "\": no reason";
  }
  nlohmann::ordered_json recorded = nlohmann::ordered_json::parse(std::ifstream(golden_file()), nullptr, false), found;
  if (recorded.is_discarded()) recorded = nlohmann::ordered_json::object();
  constexpr const char* kAdvice = "; when that is meant: ./dev golden \"<reason>\"";
  for (const auto& [name, make] : programs()) {
    const std::uint64_t ns = measure(make());
    const auto known = recorded.find(name);
    if (known != recorded.end() && known->at("ns") == ns) {
      found[name] = *known;
      continue;
    }
    found[name] = {{"ns", ns}, {"reason", record ? reason : ""}};
    if (record) continue;
    if (known == recorded.end()) {
      ADD_FAILURE() << "'" << name << "' takes " << ns << " ns and is not recorded" << kAdvice;
    } else {
      const auto before = known->at("ns").get<double>();
      ADD_FAILURE() << "'" << name << "' takes " << ns << " ns, recorded are " << known->at("ns") << " ("
                    << (static_cast<double>(ns) / before - 1) * 100 << "%; \"" << known->at("reason").get<std::string>()
                    << "\")" << kAdvice;
    }
  }
  for (const auto& [name, entry] : recorded.items()) {
    EXPECT_FALSE(entry.at("reason").get<std::string>().empty()) << name << " has no reason";
    EXPECT_TRUE(record || found.contains(name))
        << "'" << name << "' is recorded, but there is no such program" << kAdvice;
  }
  if (!record || HasFailure()) return;
  std::ofstream file(golden_file());
  file << found.dump(2) << '\n';
  ASSERT_TRUE(file.flush()) << "cannot write " << golden_file();
}

}  // namespace
}  // namespace opennrt
