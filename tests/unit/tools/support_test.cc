// SPDX-License-Identifier: Apache-2.0
//
// Files, arrays and simulator summaries as the tools read and write them.
#include <sys/stat.h>

#include "tests/unit/tools/fixture.h"
#include "tools/support/array.h"
#include "tools/support/files.h"
#include "tools/support/sim_stats.h"

namespace opennrt::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Support : public ::testing::Test {
 protected:
  static std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }
  std::size_t files_in_folder() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }
  TemporaryFolder folder_;
};

TEST_F(Support, GivenAFileThenItIsReplacedWholeAndNothingIsLeftBeside) {
  const auto path = folder_ / "file";
  ASSERT_TRUE(client::write_file(path, bytes("first contents")));
  ASSERT_TRUE(client::write_file(path, bytes("second")));
  EXPECT_EQ(read_text(path), "second");
  EXPECT_EQ(files_in_folder(), 1u);
  const auto read = client::read_file(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->size(), 6u);
}

TEST_F(Support, GivenALinkToADeviceThenItIsWrittenThroughAndStaysALink) {
  std::filesystem::create_symlink("/dev/null", folder_ / "link");
  EXPECT_TRUE(client::write_file(folder_ / "link", bytes("x")));
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
}

TEST_F(Support, GivenAFullDeviceThenWritingFails) {
  const auto status = client::write_file("/dev/full", bytes("x"));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("/dev/full"));
}

TEST_F(Support, GivenWhatIsNoRegularOrTooLargeAFileThenReadingIsRefused) {
  write_text(folder_ / "large", "0123456789");
  EXPECT_THAT(client::read_file(folder_ / "large", 9).error().message,
              AllOf(HasSubstr("10 bytes"), HasSubstr("at most 9")));
  EXPECT_TRUE(client::read_file(folder_ / "large", 10));
  EXPECT_THAT(client::read_file(folder_.path()).error().message, HasSubstr("not a regular file"));
  EXPECT_THAT(client::read_file(folder_ / "none").error().message, HasSubstr("No such file"));
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(client::read_file(folder_ / "fifo").error().message, HasSubstr("not a regular file"));
}

TEST_F(Support, GivenAFileWhereAFolderShouldBeThenMakeFolderFails) {
  write_text(folder_ / "file", "");
  EXPECT_FALSE(client::make_folder(folder_ / "file"));
  EXPECT_FALSE(client::make_folder(folder_ / "file" / "below"));
  EXPECT_TRUE(client::make_folder(folder_ / "a" / "b"));
  EXPECT_TRUE(client::make_folder(folder_ / "a" / "b"));
}

TEST_F(Support, GivenAnArrayOfEachTypeThenItComesBackEqual) {
  for (int value = 1; value < 0x10; ++value) {
    const auto dtype = static_cast<nrt_dtype_t>(value);
    const std::string name = client::dtype_name(dtype);
    const std::size_t element = neff::dtype_bytes(name);
    if (element == 0) {
      EXPECT_THAT(name, HasSubstr("type")) << value;
      continue;
    }
    neff::NpyArray array{name, {2, 3}, std::vector<std::byte>(6 * element)};
    for (std::size_t i = 0; i < array.data.size(); ++i) array.data[i] = static_cast<std::byte>(i * 7);
    ASSERT_TRUE(client::write_array(folder_ / "a.npy", array)) << name;
    const auto back = client::read_array(folder_ / "a.npy");
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->dtype, name);
    EXPECT_EQ(back->shape, array.shape);
    EXPECT_EQ(back->data, array.data);
  }
}

TEST_F(Support, GivenABrokenArrayThenThePathIsNamed) {
  write_text(folder_ / "a.npy", "\x93NUMPY");
  EXPECT_THAT(client::read_array(folder_ / "a.npy").error().message, HasSubstr("a.npy"));
}

std::string summary(const std::string& format, const std::string& last_end) {
  const std::string engine =
      R"({"instructions":2,"busy_cycles":3,"busy_ns":400,"stalled_semaphore_ns":5,"stalled_event_ns":6,)"
      R"("stalled_instructions_ns":7,"useful_operations":8,"stalled_on_semaphore_ns":{"3":5}})";
  return R"({"format":)" + format + R"(,"instance":"inf1.xlarge","clock_ghz":0.98,"simulated_ns":9000,"cores":[)" +
         R"({"device":0,"core":1,"first_start_ns":1000,"last_end_ns":)" + last_end + R"(,"engines":{"pe":)" + engine +
         R"(,"act":)" + engine + R"(,"pool":)" + engine +
         R"(},"dma":{"packets":1,"descriptors":2,"aborts":0,"dram_read_bytes":3,)" +
         R"("dram_write_bytes":4,"host_read_bytes":5,"host_write_bytes":6,"core_memory_read_bytes":7,)" +
         R"("core_memory_write_bytes":8,"instruction_bytes":9,"neighbour_read_bytes":1,"neighbour_write_bytes":0,"queues":[{"engine":2,"queue":15,"packets":3,"bytes":77,"busy_ns":50}]},)" +
         R"("roofline":{"operations":64,"dram_bytes":7,"operations_per_byte":9.5,"peak_gflops":100,)" +
         R"("dram_gigabytes_per_second":10,"attainable_gflops":95,"achieved_gflops":19,"bound":"memory"},)" +
         R"("notifications":3,"notifications_lost":0}]})";
}

TEST_F(Support, GivenASummaryThenTimePerInferenceIsTheCoresSpanDividedByThem) {
  write_text(folder_ / "s.json", summary("1", "5000"));
  const auto stats = client::read_sim_stats(folder_ / "s.json");
  ASSERT_TRUE(stats) << stats.error().message;
  ASSERT_EQ(stats->cores.size(), 1u);
  EXPECT_EQ(stats->cores[0].core, 1u);
  EXPECT_EQ(stats->cores[0].engines[0].busy_ns, 400u);
  EXPECT_EQ(stats->cores[0].instruction_bytes, 9u);
  EXPECT_EQ(stats->cores[0].engines[1].stalled_on_semaphore_ns, (std::map<std::uint32_t, std::uint64_t>{{3, 5}}));
  ASSERT_EQ(stats->cores[0].queues.size(), 1u);
  EXPECT_EQ(stats->cores[0].queues[0].queue, 15u);
  EXPECT_EQ(stats->cores[0].queues[0].busy_ns, 50u);
  EXPECT_EQ(stats->cores[0].roofline.attainable_gflops, 95);
  EXPECT_EQ(stats->cores[0].roofline.bound, "memory");
  EXPECT_DOUBLE_EQ(client::ns_per_inference(*stats, 4), 1000.0);
}

TEST_F(Support, GivenTheStagesOfAPipelineThenTimeBetweenResultsIsFromTheFirstCoreToTheLast) {
  client::SimStats stats;
  EXPECT_EQ(client::ns_between_results(stats, 10), 0);
  stats.cores.resize(2);
  stats.cores[0].first_start_ns = 1000, stats.cores[0].last_end_ns = 9000;
  stats.cores[1].first_start_ns = 2000, stats.cores[1].last_end_ns = 11000;
  EXPECT_DOUBLE_EQ(client::ns_between_results(stats, 10), 1000.0);
  EXPECT_DOUBLE_EQ(client::ns_per_inference(stats, 10), 1700.0);
  EXPECT_EQ(client::ns_between_results(stats, 0), 0);
}

TEST_F(Support, GivenASummaryThatCannotBeThenFileAndFieldAreNamed) {
  const auto refused = [&](const std::string& text) {
    write_text(folder_ / "s.json", text);
    const auto stats = client::read_sim_stats(folder_ / "s.json");
    return stats ? std::string("accepted") : stats.error().message;
  };
  EXPECT_THAT(refused(""), HasSubstr("s.json"));
  EXPECT_THAT(refused("[]"), HasSubstr("s.json"));
  EXPECT_THAT(refused(summary("2", "5000")), HasSubstr("format is 2, expected 1"));
  EXPECT_THAT(refused(summary("1", "999")), HasSubstr("last_end_ns is 999"));
  EXPECT_THAT(refused(summary("1", "\"x\"")), HasSubstr("s.json"));
  std::string missing = summary("1", "5000");
  missing.replace(missing.find("pool"), 4, "sp");
  EXPECT_THAT(refused(missing), HasSubstr("pool"));
}

}  // namespace
}  // namespace opennrt::test
