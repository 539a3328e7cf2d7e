// SPDX-License-Identifier: Apache-2.0
//
// Usage, files and messages of `opennrt`: everything that needs no device.
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <sstream>

#include "core/neff/neff.h"
#include "tests/unit/tools/fixture.h"

namespace opennrt::test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class Cli : public Tool {};

TEST_F(Cli, GivenNothingThenUsageErrorInOneLine) {
  const Outcome outcome = opennrt({});
  expect_failure(outcome, 2, HasSubstr("--help"));
  EXPECT_EQ(outcome.err_lines(), 1u);
  EXPECT_EQ(outcome.out, "");
}

TEST_F(Cli, GivenHelpThenEveryCommandIsNamedOnStdout) {
  const Outcome outcome = opennrt({"--help"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.err, "");
  for (const char* command : {"compile", "neff", "run", "bench", "stats", "ps", "version"})
    EXPECT_THAT(outcome.out, HasSubstr(command));
}

TEST_F(Cli, GivenHelpOfEachCommandThenItSucceeds) {
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{{"compile"},
                                                                                       {"neff"},
                                                                                       {"neff", "info"},
                                                                                       {"neff", "unpack"},
                                                                                       {"neff", "disasm"},
                                                                                       {"run"},
                                                                                       {"bench"},
                                                                                       {"stats"},
                                                                                       {"ps"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back("--help");
    const Outcome outcome = opennrt(arguments);
    EXPECT_EQ(outcome.exit, 0) << command.back();
    EXPECT_NE(outcome.out, "") << command.back();
  }
}

TEST_F(Cli, GivenUnknownCommandOrOptionThenUsageErrorNamesIt) {
  expect_failure(opennrt({"fly"}), 2, HasSubstr("fly"));
  expect_failure(opennrt({"compile", "x.onnx", "-o", "x.neff", "--fast"}), 2, HasSubstr("--fast"));
  expect_failure(opennrt({"compile", "x.onnx", "-o", "x.neff", "--auto-cast", "some"}), 2, HasSubstr("some"));
  expect_failure(opennrt({"compile", "x.onnx"}), 2, HasSubstr("--output"));
  expect_failure(opennrt({"bench", "x.neff", "--threads", "0"}), 2, HasSubstr("0"));
  expect_failure(opennrt({"bench", "x.neff", "--seconds", "1", "--iterations", "1"}), 2, HasSubstr("--iterations"));
}

TEST_F(Cli, VersionNamesToolRuntimeAndLibrary) {
  const Outcome outcome = opennrt({"version"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("opennrt "), HasSubstr("runtime "), HasSubstr("libnrt.so")));
}

TEST_F(Cli, GivenFullDiskBehindStdoutThenFailureIsReported) {
  const std::string neff = compiled_digits();
  expect_failure(opennrt({"neff", "info", neff}, {}, "/dev/full"), 1, HasSubstr("standard output"));
}

TEST_F(Cli, CompileReportsWhatItMadeAndIsDeterministic) {
  const std::string first = (folder_ / "a.neff").string(), second = (folder_ / "b.neff").string();
  const Outcome outcome = opennrt({"compile", digits("digits.onnx").string(), "-o", first, "--name", "reader"});
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  for (const char* row : {"nodes", "instructions", "DMA entries", "constants", "SBUF peak"})
    EXPECT_THAT(outcome.out, HasSubstr(row));
  ASSERT_EQ(opennrt({"compile", digits("digits.onnx").string(), "-o", second, "--name", "reader"}).exit, 0);
  EXPECT_EQ(read_text(first), read_text(second));
  EXPECT_GT(read_text(first).size(), 1024u);
  EXPECT_THAT(opennrt({"neff", "info", first}).out, HasSubstr("reader"));
}

// E4
TEST_F(Cli, GivenCoresThenThePipelineIsShownByCompileAndInfo) {
  const std::string neff = (folder_ / "p.neff").string();
  const Outcome made = opennrt({"compile", digits("digits.onnx").string(), "-o", neff, "--cores", "2"});
  ASSERT_EQ(made.exit, 0) << made.err;
  EXPECT_THAT(made.out, AllOf(ContainsRegex("NeuronCores +2"), ContainsRegex("sg00 +[0-9]+ nodes, +[0-9.]+ %"),
                              ContainsRegex("sg01 +[0-9]+ nodes, +[0-9.]+ %")));
  const Outcome info = opennrt({"neff", "info", neff});
  ASSERT_EQ(info.exit, 0) << info.err;
  EXPECT_THAT(info.out, AllOf(HasSubstr("NeuronCores    2 (requested 2)"), HasSubstr("subgraph sg00"),
                              HasSubstr("subgraph sg01"), ContainsRegex("NeuronCore +sg01")));
  EXPECT_THAT(opennrt({"neff", "disasm", neff, "--subgraph", "sg01"}).out,
              AllOf(HasSubstr("sg01 pe: "), ::testing::Not(HasSubstr("sg00 pe: "))));
  expect_failure(opennrt({"compile", digits("digits.onnx").string(), "-o", neff, "--cores", "60"}), 1,
                 AllOf(HasSubstr("60 NeuronCores"), HasSubstr("can be cut at")));
  expect_failure(opennrt({"compile", digits("digits.onnx").string(), "-o", neff, "--cores", "65"}), 2, HasSubstr("65"));
}

TEST_F(Cli, GivenDebugValuesThenInfoShowsThem) {
  const std::string neff = (folder_ / "d.neff").string();
  const Outcome made = opennrt({"compile", digits("digits.onnx").string(), "-o", neff, "--debug", "logits"});
  ASSERT_EQ(made.exit, 0) << made.err;
  EXPECT_THAT(opennrt({"neff", "info", neff}).out, ContainsRegex(R"(debug +logits +float32 +\[1, 10\])"));
  expect_failure(opennrt({"compile", digits("digits.onnx").string(), "-o", neff, "--debug", "nonsense"}), 1,
                 HasSubstr("'nonsense' is not in the graph"));
}

TEST_F(Cli, GivenBrokenOnnxThenNothingIsWritten) {
  const std::string good = read_text(digits("digits.onnx"));
  const std::string neff = (folder_ / "x.neff").string();
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, good.size() / 2, good.size() - 1}) {
    write_text(folder_ / "x.onnx", good.substr(0, size));
    const Outcome outcome = opennrt({"compile", (folder_ / "x.onnx").string(), "-o", neff});
    expect_failure(outcome, 1, HasSubstr("x.onnx"));
    EXPECT_EQ(outcome.err_lines(), 1u) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(neff)) << size;
  }
}

TEST_F(Cli, GivenFilesThatCannotBeReadThenTheMessageNamesThem) {
  expect_failure(opennrt({"compile", "/nowhere/x.onnx", "-o", "x.neff"}), 1, HasSubstr("/nowhere/x.onnx"));
  expect_failure(opennrt({"neff", "info", "/nowhere/x.neff"}), 1, HasSubstr("/nowhere/x.neff"));
  expect_failure(opennrt({"neff", "disasm", folder_.path().string()}), 1, HasSubstr("regular file"));
  expect_failure(opennrt({"run", "/nowhere/x.neff"}), 1, HasSubstr("/nowhere/x.neff"));
  expect_failure(opennrt({"stats", "/nowhere/x.json"}), 1, HasSubstr("/nowhere/x.json"));
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  expect_failure(opennrt({"neff", "info", (folder_ / "fifo").string()}), 1, HasSubstr("regular file"));
}

TEST_F(Cli, GivenOutputThatCannotBeWrittenThenTheMessageNamesIt) {
  expect_failure(opennrt({"compile", digits("digits.onnx").string(), "-o", "/nowhere/x.neff"}), 1,
                 HasSubstr("/nowhere/x.neff"));
  expect_failure(opennrt({"compile", digits("digits.onnx").string(), "-o", folder_.path().string()}), 1,
                 HasSubstr("folder"));
}

TEST_F(Cli, InfoShowsTensorsAsTheModelHasThem) {
  const Outcome outcome = opennrt({"neff", "info", compiled_digits()});
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_THAT(outcome.out, ContainsRegex(R"(input +image +float32 +\[1, 1, 8, 8\] +256 bytes)"));
  EXPECT_THAT(outcome.out, ContainsRegex(R"(output +logits +float32 +\[1, 10\] +40 bytes)"));
  EXPECT_THAT(outcome.out, ContainsRegex(R"(output +probabilities +float32 +\[1, 10\] +40 bytes)"));
}

TEST_F(Cli, DisasmShowsEveryInstructionOfEveryEngine) {
  const std::string neff = compiled_digits();
  const Outcome outcome = opennrt({"neff", "disasm", neff});
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  // A heading: "sg00 pe: 51 instructions"; a line of a stream: its number, two blanks, the instruction.
  const auto is_heading = ::testing::Matches(::testing::MatchesRegex("[^ ]+ (pe|act|pool): [0-9]+ instructions"));
  const auto is_instruction = ::testing::Matches(ContainsRegex("^ *[0-9]+  [^ ]"));
  std::size_t announced = 0, shown = 0, headings = 0;
  std::istringstream text(outcome.out);
  for (std::string row; std::getline(text, row);) {
    if (is_heading(row))
      announced += std::stoul(row.substr(row.find(": ") + 2)), ++headings;
    else if (is_instruction(row))
      ++shown;
  }
  EXPECT_EQ(headings, 3u);
  EXPECT_GT(shown, 20u);
  EXPECT_EQ(shown, announced);
  EXPECT_THAT(outcome.out, HasSubstr("matmul"));

  const Outcome one = opennrt({"neff", "disasm", neff, "--engine", "pe"});
  EXPECT_THAT(one.out, AllOf(HasSubstr("matmul"), HasSubstr(" pe: "), ::testing::Not(HasSubstr(" act: "))));
  expect_failure(opennrt({"neff", "disasm", neff, "--subgraph", "sg77"}), 1, HasSubstr("sg77"));
}

TEST_F(Cli, GivenBrokenNeffThenEachCommandSaysWhatIsWrongInOneLine) {
  const std::string good = read_text(compiled_digits());
  const std::string file = (folder_ / "bad.neff").string();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{100}, std::size_t{1024}, good.size() / 2, good.size() - 1}) {
    write_text(file, good.substr(0, size));
    for (const char* command : {"info", "disasm", "unpack"}) {
      const Outcome outcome = opennrt({"neff", command, file});
      expect_failure(outcome, 1, HasSubstr("bad.neff"));
      EXPECT_EQ(outcome.err_lines(), 1u) << outcome.err;
    }
  }
}

TEST_F(Cli, UnpackWritesThePayloadIntoANewFolderOnly) {
  const std::string neff = compiled_digits();
  const std::string folder = (folder_ / "unpacked").string();
  const Outcome outcome = opennrt({"neff", "unpack", neff, "-d", folder});
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  for (const char* name : {"neff.json", "kelf-0.json", "sg00/def.json"})
    EXPECT_TRUE(std::filesystem::is_regular_file(std::filesystem::path(folder) / name)) << name;
  expect_failure(opennrt({"neff", "unpack", neff, "-d", folder}), 1, HasSubstr("not empty"));
  expect_failure(opennrt({"neff", "unpack", neff, "-d", neff}), 1, HasSubstr("not a folder"));
}

/// A NEFF whose payload is one archive entry of this name, a file or a symbolic link to `link`.
std::string neff_with_entry(const std::string& name, const std::string& link) {
  std::string tar(1 << 16, '\0');
  std::size_t used = 0;
  struct archive* writer = archive_write_new();
  archive_write_set_format_ustar(writer);
  EXPECT_EQ(archive_write_open_memory(writer, tar.data(), tar.size(), &used), ARCHIVE_OK);
  struct archive_entry* entry = archive_entry_new();
  archive_entry_set_pathname(entry, name.c_str());
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_filetype(entry, link.empty() ? AE_IFREG : AE_IFLNK);
  if (!link.empty())
    archive_entry_set_symlink(entry, link.c_str());
  else
    archive_entry_set_size(entry, 4);
  EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK);
  if (link.empty()) {
    EXPECT_EQ(archive_write_data(writer, "evil", 4), 4);
  }
  archive_entry_free(entry);
  archive_write_close(writer);
  archive_write_free(writer);
  tar.resize(used);
  neff::Header header;
  header.data_size = used;
  const auto bytes = neff::encode_header(header);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) + tar;
}

TEST_F(Cli, GivenAPayloadThatLeavesItsFolderThenUnpackWritesNothingAtAll) {
  const std::string file = (folder_ / "evil.neff").string(), target = (folder_ / "a" / "b").string();
  const std::string absolute = (folder_ / "escaped").string();
  const std::vector<std::pair<std::string, std::string>> entries = {
      {"../escaped", ""}, {"x/../../escaped", ""}, {absolute, ""}, {"link", "../escaped"}, {"link", absolute}};
  for (const auto& [name, link] : entries) {
    write_text(file, neff_with_entry(name, link));
    const Outcome outcome = opennrt({"neff", "unpack", file, "-d", target});
    expect_failure(outcome, 1, HasSubstr("evil.neff"));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1) << name << " -> " << link;
  }
  write_text(file, neff_with_entry("harmless", ""));
  const Outcome outcome = opennrt({"neff", "unpack", file, "-d", target});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_EQ(read_text(target + "/harmless"), "evil");
}

}  // namespace
}  // namespace opennrt::test
