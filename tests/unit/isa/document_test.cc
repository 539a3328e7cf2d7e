// SPDX-License-Identifier: Apache-2.0
//
// docs/isa.md says what the table and the encoder do: when one of them changes, so must the page.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "core/isa/table.h"

namespace opennrt::isa {
namespace {

std::string document() {
  const char* root = std::getenv("OPENNRT_SOURCE_DIR");
  std::ifstream file(std::string(root ? root : ".") + "/docs/isa.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const auto from = text.find(begin);
  if (from == std::string::npos) return "(no '" + begin + "' in docs/isa.md)";
  const auto to = text.find(end, from + begin.size());
  if (to == std::string::npos) return "(no '" + end + "' in docs/isa.md)";
  return text.substr(from + begin.size(), to - from - begin.size());
}

std::map<std::string, Instruction> examples() {
  std::map<std::string, Instruction> all;

  Instruction load;  // 64 output channels of 64 input channels, bf16
  load.opcode = Opcode::kLoadStationary;
  load.wait = {WaitMode::kConsume, 0, 1};
  load.partitions = 64;
  load.counts = {64, 1, 1, 1};
  load.src0 = {Space::kSbuf, DataType::kBf16, 0, 0x2000, {1, 0, 0, 0}};
  all["load_stationary"] = load;

  Instruction mm;  // one tap of a 3x3 convolution of stride 2: every second pixel of rows of 18
  mm.opcode = Opcode::kMatmul;
  mm.partitions = 64;
  mm.counts = {8, 8, 1, 1};
  mm.op1 = 64;
  mm.accumulate = true;
  mm.dst = {Space::kPsum, DataType::kFp32, 0, 0x800, {1, 8, 0, 0}};
  mm.src0 = {Space::kSbuf, DataType::kBf16, 0, 0x100, {2, 36, 0, 0}};
  mm.signal = {SignalMode::kIncrement, 4, 1};
  all["matmul"] = mm;

  Instruction act;  // bias and relu on the way from PSUM to SBUF
  act.opcode = Opcode::kActivate;
  act.wait = {WaitMode::kConsume, 4, 1};
  act.signal = {SignalMode::kIncrement, 5, 1};
  act.partitions = 64;
  act.counts = {64, 1, 1, 1};
  act.op0 = static_cast<std::uint8_t>(Activation::kRelu);
  act.imm0 = 1.0f;
  act.src1_per_partition = true;
  act.dst = {Space::kSbuf, DataType::kBf16, 64, 0x400, {1, 0, 0, 0}};
  act.src0 = {Space::kPsum, DataType::kFp32, 0, 0x800, {1, 0, 0, 0}};
  act.src1 = {Space::kSbuf, DataType::kFp32, 0, 0x40, {}};
  all["activate"] = act;

  Instruction pool;  // 2x2 maximum of an 8x8 image
  pool.opcode = Opcode::kTensorReduce;
  pool.partitions = 64;
  pool.counts = {2, 2, 4, 4};
  pool.op0 = static_cast<std::uint8_t>(Alu::kMax);
  pool.src0 = {Space::kSbuf, DataType::kFp32, 0, 0, {1, 8, 2, 16}};
  pool.dst = {Space::kSbuf, DataType::kFp32, 0, 0x1000, {0, 0, 1, 4}};
  all["tensor_reduce"] = pool;

  Instruction dma;
  dma.opcode = Opcode::kDmaTrigger;
  dma.dma = {2, 3, 16, 16};
  all["dma_trigger"] = dma;

  Instruction notify;
  notify.opcode = Opcode::kNotify;
  notify.wait = {WaitMode::kGreaterEqual, 31, 512};
  notify.immediate_u32 = 0x1234;
  all["notify"] = notify;
  return all;
}

// The block as the page must have it: disassembly, then the 64 bytes, 16 a line.
std::string block(const Instruction& in) {
  std::string text = "\n```\n" + disassemble(in) + "\n";
  const auto bytes = encode(in);
  if (!bytes) return bytes.error().message;
  for (std::size_t i = 0; i < bytes->size(); ++i) {
    text += fmt::format("{:02x}{}", std::to_integer<unsigned>((*bytes)[i]),
                        i % 16 == 15 ? "\n"
                        : i % 4 == 3 ? "  "
                                     : " ");
  }
  return text + "```\n";
}

TEST(Document, givenTheOpcodeTableThenThePageHasItWordForWord) {
  EXPECT_EQ(between(document(), "<!-- opcode table -->\n", "<!-- end -->"), opcode_table_markdown());
}

TEST(Document, givenTheExamplesThenThePageHasTheirTextAndBytes) {
  const std::string text = document();
  for (const auto& [name, in] : examples()) {
    EXPECT_EQ(between(text, "<!-- example " + name + " -->", "<!-- end -->"), block(in)) << name;
    bool runs = false;
    for (std::size_t e = 0; e < kEngines; ++e) runs = runs || validate(in, static_cast<Engine>(e)).has_value();
    EXPECT_TRUE(runs) << name;
  }
}

TEST(Document, givenAnExampleOnThePageThenItDecodesToItsText) {
  const std::string text = document();
  std::size_t at = 0;
  int count = 0;
  while ((at = text.find("<!-- example ", at)) != std::string::npos) {
    std::istringstream lines(text.substr(text.find("```\n", at) + 4));
    std::string disassembly;
    std::getline(lines, disassembly);
    Encoded bytes{};
    for (auto& b : bytes) {
      unsigned value = 0;
      lines >> std::hex >> value;
      b = static_cast<std::byte>(value);
    }
    const auto decoded = decode(bytes);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(disassemble(*decoded), disassembly);
    ++at;
    ++count;
  }
  EXPECT_EQ(count, static_cast<int>(examples().size()));
}

TEST(Document, givenActivationsAndAlusThenThePageListsEachWithItsNumber) {
  const std::string text = document();
  for (unsigned i = 0; i < kActivations; ++i) {
    const std::string row = fmt::format("| {} | `{}` |", i, activation_name(static_cast<Activation>(i)));
    EXPECT_NE(text.find(row), std::string::npos) << row;
  }
  for (unsigned i = 0; i < kAlus; ++i) {
    const std::string row = fmt::format("| {} | `{}` |", i, alu_name(static_cast<Alu>(i)));
    EXPECT_NE(text.find(row), std::string::npos) << row;
  }
}

TEST(Disassemble, givenEachWaitAndSignalThenTheTextShowsIt) {
  Instruction in;
  EXPECT_EQ(disassemble(in), "nop");
  in.wait = {WaitMode::kEqual, 3, 7};
  in.signal = {SignalMode::kDecrement, 9, 2};
  EXPECT_EQ(disassemble(in), "nop wait s3==7 signal s9-=2");
  in.wait.mode = WaitMode::kConsume;
  in.signal.mode = SignalMode::kSet;
  EXPECT_EQ(disassemble(in), "nop take s3-=7 signal s9=2");
  in.wait.mode = WaitMode::kGreaterEqual;
  in.signal.mode = SignalMode::kIncrement;
  EXPECT_EQ(disassemble(in), "nop wait s3>=7 signal s9+=2");
  in.opcode = static_cast<Opcode>(0xab);
  EXPECT_EQ(disassemble(in), "??? opcode 0xab");
}

TEST(Disassemble, givenTensorScalarThenTheOperandInUseIsShown) {
  Instruction in;
  in.opcode = Opcode::kTensorScalar;
  in.op0 = static_cast<std::uint8_t>(Alu::kMult);
  in.op1 = static_cast<std::uint8_t>(Alu::kAdd);
  in.imm0 = 2;
  in.imm1 = -0.5f;
  in.partitions = 2;
  EXPECT_EQ(disassemble(in),
            "tensor_scalar sbuf[0:2,+0x0] fp32 {0,0,0,0}, sbuf[0:2,+0x0] fp32 {0,0,0,0}, counts {1,1,1,1}, op0 mult, "
            "op1 add, imm0 2, imm1 -0.5");
  in.imm0 = 0;
  in.src1_per_partition = true;
  in.src1.partition = 9;
  EXPECT_EQ(
      disassemble(in),
      "tensor_scalar sbuf[0:2,+0x0] fp32 {0,0,0,0}, sbuf[0:2,+0x0] fp32 {0,0,0,0}, sbuf[9:11,+0x0] fp32 {0,0,0,0}, "
      "counts {1,1,1,1}, op0 mult, op1 add, imm1 -0.5");
}

}  // namespace
}  // namespace opennrt::isa
