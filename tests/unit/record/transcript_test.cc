// SPDX-License-Identifier: Apache-2.0
//
// Lines of a transcript, and what is said about lines that are none (docs/ioctl-recording.md, "Format").
#include "backends/emulator/preload/transcript.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "backends/emulator/preload/transcript_aliases.h"

namespace opennrt::emulator {
namespace {

const std::string kHeader = transcript_header("2.24.7.0", false);

std::string error_of(const std::string& lines) {
  const auto parsed = parse_transcript(kHeader + lines);
  return parsed ? "parsed" : parsed.error().text("t");
}

TEST(Transcript, givenALineOfAnIoctlThenItsWordsAreFound) {
  const auto parsed =
      parse_transcript(kHeader +
                       "# a comment\n\n"
                       "1.2 ioctl fd1 PV_HELLO version=1 -> 0 instance_type=\"inf1.6x \\\"large\\x01\"\n");
  ASSERT_TRUE(parsed) << parsed.error().text("t");
  EXPECT_EQ(parsed->driver, "2.24.7.0");
  EXPECT_FALSE(parsed->payload);
  ASSERT_EQ(parsed->events.size(), 1u);
  const Event& event = parsed->events[0];
  EXPECT_EQ(event.line, 6u);
  EXPECT_EQ(event.process, 1u);
  EXPECT_EQ(event.thread, 2u);
  EXPECT_EQ(event.verb, Verb::kIoctl);
  EXPECT_EQ(event.text, "1.2 ioctl fd1 PV_HELLO version=1");
  EXPECT_EQ(event.in[1].text, "PV_HELLO");
  EXPECT_EQ(event.find_in("version")->text, "1");
  EXPECT_EQ(event.find_out("instance_type")->text, "inf1.6x \"large\x01");
}

TEST(Transcript, givenPayloadLeftOutThenItsMarkIsOneWord) {
  const auto parsed = parse_transcript(kHeader + "1.1 ioctl fd1 PRINTK buffer=<12 bytes> size=12 action=0 -> ENOTTY\n");
  ASSERT_TRUE(parsed) << parsed.error().text("t");
  EXPECT_EQ(parsed->events[0].find_in("buffer")->text, "<12 bytes>");
  EXPECT_EQ(parsed->events[0].find_in("size")->text, "12");
}

TEST(Transcript, givenFieldsOfAListThenTheirNamesAreWhole) {
  const auto parsed =
      parse_transcript(kHeader + "1.1 ioctl fd1 X entries[1].qid=4 list=[1,2] -> 0 app_data[0].pid=self\n");
  ASSERT_TRUE(parsed) << parsed.error().text("t");
  ASSERT_NE(parsed->events[0].find_in("entries[1].qid"), nullptr);
  EXPECT_EQ(parsed->events[0].find_in("entries[1].qid")->text, "4");
  EXPECT_EQ(parsed->events[0].find_in("list")->text, "[1,2]");
  EXPECT_EQ(parsed->events[0].find_out("app_data[0].pid")->text, "self");
}

TEST(Transcript, givenABrokenLineThenLineColumnAndExpectationAreNamed) {
  EXPECT_EQ(error_of("1.x open\n"), "t:4:3: expected <process>.<thread>, found '1.x'");
  EXPECT_EQ(error_of("1.1 opened device=0\n"), "t:4:5: expected a verb (open, ioctl, mmap, close …), found 'opened'");
  EXPECT_EQ(error_of("1.1 open device=0 flags=O_RDWR\n"),
            "t:4:31: expected open device=<n> flags=<flags> -> fd<n> or an errno, found 'no ->'");
  EXPECT_EQ(error_of("\n1.1 ioctl 7 MEM_FREE mem_handle=mh1 -> 0\n"),
            "t:5:11: expected ioctl fd<n> NAME fields -> result fields, found '7'");
  EXPECT_EQ(error_of("1.1 ioctl fd1 MEM_FREE mem_handle=mh1 -> EWHAT\n"),
            "t:4:42: expected ioctl fd<n> NAME fields -> result fields, found 'EWHAT'");
  EXPECT_EQ(error_of("1.1 memory map1+0x40 0g\n"),
            "t:4:22: expected memory map<n>+<offset> <hexadecimal bytes>, found '0g'");
  EXPECT_EQ(error_of("1.1 file \"/sys\n"), "t:4:15: expected a closing quote, found 'end of the line'");
  EXPECT_EQ(error_of("1.1 file \"\\q\" -> \"\"\n"),
            "t:4:11: expected an escape (\\n \\\" \\\\ \\x00), found '\\q\" -> \"\"'");
  EXPECT_EQ(error_of("1.1 close fd1 fd2\n"), "t:4:15: expected close fd<n>, found 'fd2'");
}

TEST(Transcript, givenAnotherFileThenItIsNotTakenForATranscript) {
  EXPECT_EQ(parse_transcript("strace\n").error().text("t"),
            "t:1:1: expected 'opennrt-ioctl-transcript', found 'strace'");
  EXPECT_EQ(parse_transcript("opennrt-ioctl-transcript 2\n").error().text("t"),
            "t:1:26: expected version 1, found '2'");
  EXPECT_EQ(parse_transcript("").error().text("t"),
            "t:1:1: expected a transcript's header of three lines, found 'end of file'");
  EXPECT_EQ(parse_transcript("opennrt-ioctl-transcript 1\ndriver \"\"\npayload maybe\n").error().text("t"),
            "t:3:9: expected yes or no, found 'maybe'");
}

TEST(Transcript, givenValuesThenTheirTextsAreReadBack) {
  std::uint64_t value = 0, number = 0, offset = 0;
  EXPECT_TRUE(parse_number("-1", value));
  EXPECT_EQ(value, ~std::uint64_t{0});
  EXPECT_TRUE(parse_number(hex_number(0xfffc0000000), value));
  EXPECT_EQ(value, 0xfffc0000000u);
  EXPECT_FALSE(parse_number("12x", value));
  EXPECT_FALSE(parse_number("0x", value));
  std::string name;
  EXPECT_TRUE(parse_alias("pa12+0x40", name, number, offset));
  EXPECT_EQ(name, "pa12");
  EXPECT_EQ(number, 12u);
  EXPECT_EQ(offset, 0x40u);
  EXPECT_FALSE(parse_alias("12", name, number, offset));
  std::vector<std::string> items;
  EXPECT_TRUE(parse_list("[1,0*3,0x7]", items));
  EXPECT_EQ(items, (std::vector<std::string>{"1", "0", "0", "0", "0x7"}));
  EXPECT_FALSE(parse_list("[0*99999999]", items));
  long result = 0;
  EXPECT_TRUE(parse_result("EBUSY", result));
  EXPECT_EQ(result, -EBUSY);
  EXPECT_EQ(result_text(-ENOTTY), "ENOTTY");
  EXPECT_EQ(open_flags_text(O_RDWR | O_CLOEXEC), "O_RDWR|O_CLOEXEC");
  EXPECT_EQ(mmap_text(4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE),
            "bytes=4096 prot=rw- flags=shared|populate");
}

TEST(Aliases, givenNumbersThenTheyAreNamedInTheOrderOfAppearance) {
  Aliases aliases;
  EXPECT_EQ(aliases.of(Kind::kHandle, 0, 900), "mh1");
  EXPECT_EQ(aliases.of(Kind::kHandle, 0, 100), "mh2");
  EXPECT_EQ(aliases.of(Kind::kHandle, 0, 900), "mh1");
  EXPECT_EQ(aliases.of(Kind::kHandle, 1, 900), "mh3") << "another device's";
  EXPECT_EQ(aliases.of(Kind::kHandle, 0, 0), "0");
  EXPECT_EQ(aliases.of(Kind::kHandle, 0, ~std::uint64_t{0}), "-1");
  EXPECT_EQ(aliases.of(Kind::kHandle, 0, 901), "mh4") << "handles have no inside";
}

TEST(Aliases, givenAnAddressWithinMemoryThenItIsNamedAfterIt) {
  Aliases aliases;
  EXPECT_EQ(aliases.of(Kind::kAddress, 0, 0x1000, {0, 0x100, 7, Origin::kMemory}), "pa1");
  EXPECT_EQ(aliases.of(Kind::kAddress, 0, 0x10ff), "pa1+0xff");
  EXPECT_EQ(aliases.of(Kind::kAddress, 0, 0x1100), "pa2");
  aliases.forget(0, 7);
  EXPECT_EQ(aliases.of(Kind::kAddress, 0, 0x1000), "pa3") << "memory of handle 7 was freed";
  EXPECT_EQ(aliases.of(Kind::kAddress, 0, 0x1100), "pa2");
}

}  // namespace
}  // namespace opennrt::emulator
