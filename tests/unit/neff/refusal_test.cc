// SPDX-License-Identifier: Apache-2.0
//
// What is refused, and that the message names the field and the value (requirements E1 to E5).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"

namespace opennrt::neff {
namespace {

using test::NeffBuilder;
using test::OrderedJson;
using ::testing::AllOf;
using ::testing::HasSubstr;

NeffBuilder good() {
  auto b = test::copy_program(2, 4);
  b.constant("w", std::vector<std::byte>(16), "w.bin");
  return NeffBuilder::of(b.graph);
}

struct Refusal {
  const char* name;
  std::function<void(NeffBuilder&)> break_it;
  ErrorCode code;
  std::vector<std::string> texts;
};

void PrintTo(const Refusal& r, std::ostream* out) {
  *out << r.name;
}

class NeffRefusal : public ::testing::TestWithParam<Refusal> {};

TEST_P(NeffRefusal, whenParsedThenTheErrorNamesTheField) {
  NeffBuilder b = good();
  ASSERT_TRUE(parse(b.build())) << parse(b.build()).error().message;
  GetParam().break_it(b);
  auto neff = parse(b.build());
  ASSERT_FALSE(neff);
  EXPECT_EQ(neff.error().code, GetParam().code) << neff.error().message;
  for (const auto& text : GetParam().texts) EXPECT_THAT(neff.error().message, HasSubstr(text));
}

auto edit(const char* file, std::function<void(OrderedJson&)> change) {
  return [=](NeffBuilder& b) { b.edit(file, change); };
}
auto def(std::function<void(OrderedJson&)> change) {
  return edit("sg00/def.json", std::move(change));
}
auto pool(std::function<void(OrderedJson&)> change) {
  return edit("sg00/pool.json", std::move(change));
}
auto desc(std::function<void(OrderedJson&)> change) {
  return pool([=](OrderedJson& j) { change(j["dma"][0]["desc"]); });
}
auto tensors(std::function<void(OrderedJson&)> change) {
  return edit("sg00/tensor_map.json", [=](OrderedJson& j) { change(j["tensors"]); });
}

constexpr auto kBad = ErrorCode::kInvalidFile;
constexpr auto kGap = ErrorCode::kUnsupported;
constexpr auto kVersion = ErrorCode::kUnsupportedVersion;

const Refusal kRefusals[] = {
    // header
    {"MajorVersion",
     [](auto& b) {
       b.header.major = 2;
       b.header.minor = 0;
     },
     kVersion,
     {"NEFF version mismatch supported: 1.1 received: 2.0"}},
    {"MinorVersion", [](auto& b) { b.header.minor = 2; }, kVersion, {"received: 1.2"}},
    {"HeaderSize", [](auto& b) { b.header.header_size = 1023; }, kBad, {"header_size is 1023", "1024"}},
    {"PkgVersion", [](auto& b) { b.header.pkg_version = 7; }, kVersion, {"pkg_version is 7"}},
    {"FeatureBits", [](auto& b) { b.header.feature_bits = 0x10; }, kVersion, {"feature_bits is 0x10"}},
    {"LncSize", [](auto& b) { b.header.lnc_size = 2; }, kGap, {"lnc_size is 2"}},
    {"NumTpb", [](auto& b) { b.header.num_tpb = 4; }, kBad, {"num_tpb is 4", "1 subgraphs"}},
    // payload
    {"AbsolutePath", [](auto& b) { b.file("/etc/passwd", "x"); }, kBad, {"'/etc/passwd' is absolute"}},
    {"ParentPath", [](auto& b) { b.file("sg00/../../x", "x"); }, kBad, {"sg00/../../x", "'..'"}},
    {"Backslash", [](auto& b) { b.file("a\\b", "x"); }, kBad, {"backslash"}},
    {"LongPath", [](auto& b) { b.file(std::string(600, 'p'), "x"); }, kBad, {"600 bytes, expected at most 512"}},
    {"SymbolicLink",
     [](auto& b) { b.entry("sg00/link", AE_IFLNK, "/etc/passwd"); },
     kBad,
     {"'sg00/link' is a symbolic link"}},
    {"HardLink",
     [](auto& b) {
       b.odd_entries.push_back([](archive_entry* e) {
         archive_entry_set_pathname(e, "hard");
         archive_entry_set_filetype(e, AE_IFREG);
         archive_entry_set_hardlink(e, "neff.json");
       });
     },
     kBad,
     {"'hard' is a hard link"}},
    {"Device", [](auto& b) { b.entry("dev", AE_IFCHR); }, kBad, {"'dev' is a character device"}},
    {"Pipe", [](auto& b) { b.entry("fifo", AE_IFIFO); }, kBad, {"'fifo' is a named pipe"}},
    {"DuplicateFile", [](auto& b) { b.entry("neff.json", AE_IFREG); }, kBad, {"'neff.json' is there twice"}},
    {"DuplicateByDot", [](auto& b) { b.file("./neff.json", "{}"); }, kBad, {"'neff.json' is there twice"}},
    // neff.json and kelf
    {"NoNeffJson", [](auto& b) { b.remove("neff.json"); }, kBad, {"neff.json: there is no such file"}},
    {"NotJson", [](auto& b) { b.file("neff.json", "{\"nodes\": [}"); }, kBad, {"neff.json: not JSON at byte"}},
    {"NotUtf8", [](auto& b) { b.file("neff.json", "{\"nodes\": \"\xff\"}"); }, kBad, {"neff.json: not JSON"}},
    {"DuplicateKey",
     [](auto& b) { b.file("neff.json", "{\"nodes\": [], \"nodes\": []}"); },
     kBad,
     {"'nodes' is there twice"}},
    {"DeepJson", [](auto& b) { b.file("neff.json", std::string(100000, '[')); }, kBad, {"nested deeper than 32"}},
    {"NoKelfNode", edit("neff.json", [](auto& j) { j["nodes"].erase(1); }), kBad, {"nodes names no kelf"}},
    {"OnlyCpuNodes",
     edit("neff.json", [](auto& j) { j["nodes"][1]["attrs"]["func_name"] = "softmax"; }),
     kBad,
     {"nodes names no kelf"}},
    {"UnknownOp", edit("neff.json", [](auto& j) { j["nodes"][0]["op"] = "x"; }), kBad, {"nodes[0].op is \"x\""}},
    {"KelfMissing",
     [](auto& b) { b.remove("kelf-0.json"); },
     kBad,
     {"neff.json: nodes[1].attrs.kelf is \"kelf-0.json\", but there is no such file"}},
    {"KelfVersion",
     edit("kelf-0.json", [](auto& j) { j["version"] = "9"; }),
     kVersion,
     {"kelf-0.json: version is \"9\""}},
    {"NoGraphs", edit("kelf-0.json", [](auto& j) { j["graphs"] = OrderedJson::array(); }), kBad, {"graphs is empty"}},
    {"GraphTwice",
     edit("kelf-0.json", [](auto& j) { j["graphs"].push_back(j["graphs"][0]); }),
     kBad,
     {"graphs[1].name is \"sg00\""}},
    {"TooManyGraphs",
     edit("kelf-0.json",
          [](auto& j) {
            for (int i = 0; i < 70; ++i) j["graphs"].push_back({{"name", std::to_string(i)}});
          }),
     kBad,
     {"graphs is an array of 71"}},
    {"DefinitionMissing",
     edit("kelf-0.json", [](auto& j) { j["graphs"][0]["definition"] = "sg07/def.json"; }),
     kBad,
     {"kelf-0.json: graphs[0].definition is \"sg07/def.json\", but there is no such file"}},
    // def.json
    {"DefVersion", def([](auto& j) { j["version"] = "0.7"; }), kVersion, {"sg00/def.json: version is \"0.7\""}},
    {"OtherEngine", def([](auto& j) { j["dve"] = "dve.json"; }), kGap, {"dve is \"dve.json\""}},
    {"VarMissing", def([](auto& j) { j.erase("var"); }), kBad, {"sg00/def.json: var is missing"}},
    {"VarNoSize", def([](auto& j) { j["var"]["in"].erase("size"); }), kBad, {"var.in.size is missing"}},
    {"VarZeroSize", def([](auto& j) { j["var"]["sbuf"]["size"] = 0; }), kBad, {"var.sbuf.size is 0"}},
    {"VarNegativeSize", def([](auto& j) { j["var"]["in"]["size"] = -4; }), kBad, {"var.in.size is -4"}},
    {"VarHugeSize",
     def([](auto& j) { j["var"]["in"]["size"] = 1ull << 60; }),
     kBad,
     {"var.in.size is 1152921504606846976", "8589934592"}},
    {"VarTextSize", def([](auto& j) { j["var"]["in"]["size"] = "4"; }), kBad, {"var.in.size is \"4\""}},
    {"VarFraction", def([](auto& j) { j["var"]["in"]["size"] = 4.5; }), kBad, {"var.in.size is 4.5"}},
    {"VarType", def([](auto& j) { j["var"]["in"]["type"] = "magic"; }), kBad, {"var.in.type is \"magic\""}},
    {"VarVirtual", def([](auto& j) { j["var"]["in"]["type"] = "virtual"; }), kGap, {"var.in.type is \"virtual\""}},
    {"VarIdTwice",
     def([](auto& j) { j["var"]["in"]["var_id"] = j["var"]["out"]["var_id"]; }),
     kBad,
     {"var_id is 2", "unique"}},
    {"VarAlignment", def([](auto& j) { j["var"]["in"]["alignment"] = 48; }), kBad, {"var.in.alignment is 48"}},
    {"VarPointerField",
     def([](auto& j) { j["var"]["in"]["referenced_var_id"] = 1; }),
     kGap,
     {"var.in.referenced_var_id is 1"}},
    {"VarFabric", def([](auto& j) { j["var"]["in"]["fabric_path"] = "alt"; }), kGap, {"var.in.fabric_path is \"alt\""}},
    {"VarNotObject", def([](auto& j) { j["var"]["in"] = 3; }), kBad, {"var.in is 3, expected an object"}},
    {"ConstantFileMissing",
     def([](auto& j) { j["var"]["w"]["file_name"] = "nope.bin"; }),
     kBad,
     {"var.w.file_name is \"nope.bin\""}},
    {"ConstantOutsideFolder",
     def([](auto& j) { j["var"]["w"]["file_name"] = "../neff.json"; }),
     kBad,
     {"../neff.json"}},
    {"ConstantSize", def([](auto& j) { j["var"]["w"]["size"] = 17; }), kBad, {"var.w.size is 17", "holds 16 bytes"}},
    {"ConstantNpy",
     [](auto& b) {
       b.file("sg00/w.npy", "no").edit("sg00/def.json", [](auto& j) { j["var"]["w"]["file_name"] = "w.npy"; });
     },
     kBad,
     {"var.w.file_name (\"w.npy\"): .npy"}},
    {"FileNameOnInput",
     def([](auto& j) { j["var"]["in"]["file_name"] = "w.bin"; }),
     kBad,
     {"var.in.file_name is there"}},
    {"SbufBeyondWindow",
     def([](auto& j) { j["var"]["sbuf"]["address"] = 1; }),
     kBad,
     {"var.sbuf.size is 16777216 at address 1"}},
    {"AddressOnInput", def([](auto& j) { j["var"]["in"]["address"] = 1; }), kBad, {"var.in.address is there"}},
    {"NumQueues",
     def([](auto& j) { j["dma_queue"]["load"]["num_queues"] = 2; }),
     kGap,
     {"dma_queue.load.num_queues is 2, expected 1"}},
    {"QueueType", def([](auto& j) { j["dma_queue"]["load"]["type"] = "up"; }), kBad, {"dma_queue.load.type is \"up\""}},
    {"QueueDynamic",
     def([](auto& j) { j["dma_queue"]["load"]["type"] = "dynamic"; }),
     kGap,
     {"dma_queue.load.type is \"dynamic\""}},
    {"QueueInstances",
     def([](auto& j) { j["dma_queue"]["load"]["queue_instances"] = {"a"}; }),
     kGap,
     {"dma_queue.load.queue_instances"}},
    {"QueueOwner",
     def([](auto& j) { j["dma_queue"]["load"]["owner"] = "sp"; }),
     kBad,
     {"dma_queue.load.owner is \"sp\""}},
    {"QueuePinned", def([](auto& j) { j["dma_queue"]["load"]["pinned"] = 1; }), kBad, {"dma_queue.load.pinned is 1"}},
    {"QueueSemaphore",
     def([](auto& j) { j["dma_queue"]["load"]["semaphore"] = 32; }),
     kBad,
     {"dma_queue.load.semaphore is 32", "0 to 31"}},
    {"QueueSemaphoreSet",
     def([](auto& j) {
       j["dma_queue"]["load"]["semaphore_set"] = {1, 2};
     }),
     kBad,
     {"semaphore_set has 2"}},
    {"IsaVersion", def([](auto& j) { j["opennrt"]["isa_version"] = "one"; }), kBad, {"opennrt.isa_version is \"one\""}},
    // engines
    {"EngineFileMissing",
     [](auto& b) { b.remove("sg00/act.json"); },
     kBad,
     {"sg00/act.json: there is no such file", "act"}},
    {"InstrMissing", [](auto& b) { b.remove("sg00/act.bin"); }, kBad, {"sg00/act.json: instr is \"act.bin\""}},
    {"InstrSize", [](auto& b) { b.file("sg00/act.bin", "x"); }, kBad, {"of 1 bytes, expected a multiple of 64"}},
    {"DmaNotArray",
     pool([](auto& j) { j["dma"] = OrderedJson::object(); }),
     kBad,
     {"sg00/pool.json: dma is an object"}},
    {"DmaNoId", pool([](auto& j) { j["dma"][1].erase("id"); }), kBad, {"dma[1].id is missing"}},
    {"DmaHugeId", pool([](auto& j) { j["dma"][1]["id"] = 1ull << 32; }), kBad, {"dma[1].id is 4294967296"}},
    {"DmaQueue", pool([](auto& j) { j["dma"][0]["queue"] = "nope"; }), kBad, {"dma[0].queue is \"nope\""}},
    {"DmaOwner",
     def([](auto& j) { j["dma_queue"]["load"]["owner"] = "pe"; }),
     kBad,
     {"dma[0].queue is \"load\", whose owner is pe"}},
    {"DmaSemaphore", pool([](auto& j) { j["dma"][0]["semaphore"] = 32; }), kBad, {"dma[0].semaphore is 32"}},
    {"DmaEvent", pool([](auto& j) { j["dma"][0]["event"] = 256; }), kBad, {"dma[0].event is 256", "0 to 255"}},
    {"DmaInstanceName", pool([](auto& j) { j["dma"][0]["instance_name"] = "x"; }), kGap, {"dma[0].instance_name"}},
    {"DmaIdOnTwoQueues", pool([](auto& j) { j["dma"][1]["id"] = 1; }), kBad, {"dma[1].id is 1", "another queue"}},
    {"DmaIdSplit",
     pool([](auto& j) {
       auto a = j["dma"][0], b = a;
       b["id"] = 9;
       j["dma"] = {a, b, a, j["dma"][1]};
     }),
     kBad,
     {"dma[2].id is 1", "follow each other"}},
    {"DescMissing", pool([](auto& j) { j["dma"][0].erase("desc"); }), kBad, {"dma[0].desc is missing"}},
    {"DescVariable", desc([](auto& j) { j["from"] = "ghost"; }), kBad, {"dma[0].desc.from is \"ghost\""}},
    {"DescOp", desc([](auto& j) { j["op"] = "add"; }), kGap, {"dma[0].desc.op is \"add\""}},
    {"DescDtype", desc([](auto& j) { j["from_dtype"] = "float32"; }), kGap, {"dma[0].desc.from_dtype"}},
    {"DescFiveDims",
     desc(
         [](auto& j) {
           j["from_sizes"] = {1, 1, 1, 1, 1};
         }),
     kBad,
     {"dma[0].desc.from_sizes is an array of 5"}},
    {"DescNoDims",
     desc(
         [](auto& j) {
           j["from_sizes"] = OrderedJson::array();
           j["from_steps"] = OrderedJson::array();
         }),
     kBad,
     {"from_sizes has 0 elements"}},
    {"DescUneven",
     desc(
         [](auto& j) {
           j["from_steps"] = {1, 1};
         }),
     kBad,
     {"from_sizes has 1 elements and from_steps 2"}},
    {"DescZeroSize", desc([](auto& j) { j["from_sizes"] = {0}; }), kBad, {"from_sizes[0] is 0"}},
    {"DescFractionStep", desc([](auto& j) { j["from_steps"] = {0.5}; }), kBad, {"from_steps[0] is 0.5"}},
    {"DescPastEnd",
     desc([](auto& j) { j["from_off"] = 1; }),
     kBad,
     {"dma[0].desc.from", "from_off 1", "past the end of variable 'in' of 32"}},
    {"DescBelowStart", desc([](auto& j) { j["from_steps"] = {-1}; }), kBad, {"below the start of variable 'in'"}},
    {"DescUnequal", desc([](auto& j) { j["from_sizes"] = {16}; }), kBad, {"moves 16 bytes from and 32 to"}},
    {"DescOverflow",
     desc(
         [](auto& j) {
           j["from_sizes"] = {8589934592u, 8589934592u, 8589934592u, 8589934592u};
           j["from_steps"] = {0, 0, 0, 0};
         }),
     kBad,
     {"from_sizes moves more than 8589934592"}},
    {"DescStepOverflow",
     desc(
         [](auto& j) {
           j["from_sizes"] = {16, 2};
           j["from_steps"] = {1, INT64_MAX};
         }),
     kBad,
     {"past the end of variable 'in'"}},
    {"DescStepTooLarge",
     desc([](auto& j) { j["from_steps"] = {UINT64_MAX}; }),
     kBad,
     {"from_steps[0] is 18446744073709551615"}},
    {"DescIntoInput",
     desc(
         [](auto& j) {
           j["to"] = "in";
           j["to_sizes"] = {32};
           j["to_steps"] = {1};
         }),
     kBad,
     {"dma[0].desc.to is 'in', an input"}},
    {"DescIntoConstant",
     desc(
         [](auto& j) {
           j["to"] = "w";
           j["to_sizes"] = {16};
           j["to_steps"] = {1};
           j["from_sizes"] = {16};
         }),
     kBad,
     {"to is 'w', a constant"}},
    // tensor map
    {"TensorMapMissing",
     [](auto& b) { b.remove("sg00/tensor_map.json"); },
     kBad,
     {"sg00/tensor_map.json: there is no such file"}},
    {"TensorMissing", tensors([](auto& j) { j.erase("out"); }), kBad, {"tensors.out is missing"}},
    {"TensorOfNothing", tensors([](auto& j) { j["ghost"] = j["in"]; }), kBad, {"tensors.ghost is an input"}},
    {"TensorKind", tensors([](auto& j) { j["in"]["kind"] = "both"; }), kBad, {"tensors.in.kind is \"both\""}},
    {"TensorWrongKind", tensors([](auto& j) { j["in"]["kind"] = "output"; }), kBad, {"tensors.in is an output"}},
    {"TensorDtype", tensors([](auto& j) { j["in"]["dtype"] = "float33"; }), kBad, {"tensors.in.dtype is \"float33\""}},
    {"TensorShape",
     tensors(
         [](auto& j) {
           j["in"]["shape"] = {3, 4};
         }),
     kBad,
     {"make 48 bytes", "'in' is 32"}},
    {"TensorShapeOverflow",
     tensors(
         [](auto& j) {
           j["in"]["shape"] = {4294967295u, 4294967295u, 4294967295u};
         }),
     kBad,
     {"tensors.in.shape has more than 2^64"}},
    {"TensorShapeNegative", tensors([](auto& j) { j["in"]["shape"] = {-1}; }), kBad, {"tensors.in.shape[0] is -1"}},
};

INSTANTIATE_TEST_SUITE_P(All, NeffRefusal, ::testing::ValuesIn(kRefusals),
                         [](const auto& test) { return test.param.name; });

std::string error_of(std::span<const std::byte> bytes, const ParseOptions& options = {}) {
  auto neff = parse(bytes, options);
  return neff ? "" : neff.error().message;
}

TEST(NeffRefusals, givenAFileThatIsTooShortWhenParsedThenTheHeaderIsNamed) {
  EXPECT_THAT(error_of({}), HasSubstr("the file has 0 bytes, expected a header of 1024"));
  auto bytes = good().build();
  EXPECT_THAT(error_of(std::span(bytes).first(1023)), HasSubstr("1023 bytes"));
  EXPECT_THAT(error_of(std::span(bytes).first(1024)), HasSubstr("data_size is"));
  EXPECT_THAT(error_of(std::span(bytes).first(bytes.size() - 1)), HasSubstr("truncated?"));
}

TEST(NeffRefusals, givenBytesBehindThePayloadWhenParsedThenTheyAreRefused) {
  auto bytes = good().build();
  bytes.resize(bytes.size() + 9);
  bytes.back() = std::byte{1};
  EXPECT_THAT(error_of(bytes), AllOf(HasSubstr("data_size"), HasSubstr("9 bytes that are not all zero")));
}

TEST(NeffRefusals, givenAWrongHashWhenValidationIsAskedThenBothHashesAreShown) {
  auto bytes = good().build();
  bytes[172] ^= std::byte{1};
  EXPECT_TRUE(parse(bytes));
  EXPECT_THAT(error_of(bytes, {.validate_hash = true}), HasSubstr("hash is"));
}

TEST(NeffRefusals, givenAnArchiveThatIsNoneWhenParsedThenItIsRefused) {
  NeffBuilder b;
  EXPECT_THAT(error_of(b.wrap(std::vector<std::byte>(4096, std::byte{0x5a}))), HasSubstr("NEFF payload"));
  EXPECT_THAT(error_of(b.wrap(std::vector<std::byte>(4096))), HasSubstr("NEFF payload: the archive holds no files"));
}

TEST(NeffRefusals, givenABombWhenParsedThenReadingStopsAtTheLimit) {
  NeffBuilder b = good();
  b.files["sg00/zeros.bin"].resize(64u << 20);
  auto bytes = b.build();
  EXPECT_LT(bytes.size(), 200'000u);
  EXPECT_THAT(error_of(bytes, {.max_unpacked_bytes = 1u << 20}), HasSubstr("more than 1048576 bytes when unpacked"));
  EXPECT_TRUE(parse(bytes));
}

TEST(NeffRefusals, givenManyVariablesOfOneFileWhenParsedThenTheirSumIsBounded) {
  NeffBuilder b = good();
  b.files["sg00/big.bin"].resize(1u << 20);
  b.edit("sg00/def.json", [](auto& j) {
    for (int i = 0; i < 100; ++i)
      j["var"]["c" + std::to_string(i)] = {
          {"type", "file"}, {"var_id", 1000 + i}, {"size", 1 << 20}, {"file_name", "big.bin"}};
  });
  EXPECT_THAT(error_of(b.build(), {.max_unpacked_bytes = 8u << 20}), HasSubstr("constants may take only"));
}

}  // namespace
}  // namespace opennrt::neff
