// SPDX-License-Identifier: Apache-2.0
// The front door over a whole runtime: a second build of our library, which says "Stand-in" where ours says "OpenNRT".
// (The suites of tests/conformance and tests/process run over it, too.) And what records calls, on every backend.
#include <dlfcn.h>
#include <nrt/nrt_version.h>

#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "tests/support/neff_builder.h"
#include "tests/support/subgraph_builder.h"
#include "tests/vendor/fixture.h"

/// See forked_child.
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off() {
  return process_test::forked_child ? 1 : 0;
}

namespace vendor_test {
namespace {

constexpr std::size_t kBytes = 4 * 16 * sizeof(float);

/// Opens, copies bytes through a model on the device, closes. 0, or which step was wrong.
int whole_flow() {
  const auto neff = opennrt::test::NeffBuilder::of(opennrt::test::copy_program(4, 16).graph).build();
  EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
  nrt_model_t* model = nullptr;
  EXPECT_IN_CHILD(nrt_load(neff.data(), neff.size(), 0, 1, &model) == NRT_SUCCESS);
  nrt_tensor_set_t *inputs = nullptr, *outputs = nullptr;
  nrt_tensor_t *in = nullptr, *out = nullptr;
  EXPECT_IN_CHILD(nrt_allocate_tensor_set(&inputs) == NRT_SUCCESS && nrt_allocate_tensor_set(&outputs) == NRT_SUCCESS);
  EXPECT_IN_CHILD(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, kBytes, "in", &in) == NRT_SUCCESS);
  EXPECT_IN_CHILD(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, kBytes, "out", &out) == NRT_SUCCESS);
  std::vector<float> given(kBytes / sizeof(float)), got(given.size());
  for (std::size_t i = 0; i < given.size(); ++i) given[i] = static_cast<float>(i) - 3;
  EXPECT_IN_CHILD(nrt_tensor_write(in, given.data(), 0, kBytes) == NRT_SUCCESS);
  EXPECT_IN_CHILD(nrt_add_tensor_to_tensor_set(inputs, "in", in) == NRT_SUCCESS);
  EXPECT_IN_CHILD(nrt_add_tensor_to_tensor_set(outputs, "out", out) == NRT_SUCCESS);
  EXPECT_IN_CHILD(nrt_execute(model, inputs, outputs) == NRT_SUCCESS);
  EXPECT_IN_CHILD(nrt_tensor_read(out, got.data(), 0, kBytes) == NRT_SUCCESS && got == given);
  EXPECT_IN_CHILD(nrt_tensor_read(out, got.data(), kBytes, 1) == NRT_INVALID);
  nrt_tensor_free(&in);
  nrt_tensor_free(&out);
  nrt_destroy_tensor_set(&inputs);
  nrt_destroy_tensor_set(&outputs);
  EXPECT_IN_CHILD(nrt_unload(model) == NRT_SUCCESS);
  nrt_close();
  return 0;
}

TEST_F(Vendor, givenAWholeRuntimeWhenAModelRunsThenTheVendorsVersionAnsweredAndTheResultIsRight) {
  const Ended ended = forwarded(library("stand_in"), [] {
    nrt_version_t version{};
    EXPECT_IN_CHILD(nrt_get_version(&version, sizeof(version)) == NRT_SUCCESS);
    EXPECT_IN_CHILD(std::string(version.rt_detail).starts_with("Stand-in") && version.rt_patch == 4242);
    EXPECT_IN_CHILD(std::string(version.git_hash) == "stand-in");
    return whole_flow();
  });
  succeeded(ended);
  // What was wrong is said by who answered, and not again by us.
  EXPECT_THAT(ended.err, HasSubstr("NRT:nrt_tensor_read"));
  EXPECT_EQ(ended.err.find("nrt_tensor_read"), ended.err.rfind("nrt_tensor_read")) << ended.err;
}

TEST_F(Vendor, givenSeveralRoundsAndThreadsWhenForwardedThenEachIsRight) {
  succeeded(forwarded(library("stand_in"), [] {
    for (int round = 0; round < 2; ++round)
      if (const int wrong = whole_flow(); wrong != 0) return wrong;
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        nrt_tensor_t* tensor = nullptr;
        if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, i, 64, "t", &tensor) != NRT_SUCCESS) return;
        for (int k = 0, got = -1; k < 50; ++k) {
          if (nrt_tensor_write(tensor, &k, 0, sizeof(k)) != NRT_SUCCESS) return;
          if (nrt_tensor_read(tensor, &got, 0, sizeof(got)) != NRT_SUCCESS || got != k) return;
        }
        nrt_tensor_free(&tensor);
        ++right;
      });
    }
    for (std::thread& thread : threads) thread.join();
    nrt_close();
    return right == 4 ? 0 : 1;
  }));
}

TEST_F(Vendor, givenHandlesOfOneSideWhenClosedThenTheOtherSideIsWhatItWas) {
  succeeded(forwarded(library("stand_in"), [] {
    void* handle = dlopen(std::getenv("OPENNRT_VENDOR_LIBNRT"), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    EXPECT_IN_CHILD(handle == nullptr);  // not before the first call
    std::uint32_t total = 0;
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&total) == NRT_SUCCESS && total > 0);
    handle = dlopen(std::getenv("OPENNRT_VENDOR_LIBNRT"), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    EXPECT_IN_CHILD(handle != nullptr);
    EXPECT_IN_CHILD(dlsym(handle, "nrt_init") != dlsym(RTLD_DEFAULT, "nrt_init"));
    // By its soname it is ours that everybody in this process finds.
    void* ours = dlopen("libnrt.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    EXPECT_IN_CHILD(ours != nullptr && dlsym(ours, "nrt_init") == dlsym(RTLD_DEFAULT, "nrt_init"));
    return whole_flow();
  }));
}

/// Lines without what differs from run to run.
std::vector<std::string> calls_in(const std::string& record) {
  std::vector<std::string> lines;
  std::istringstream stream(record);
  for (std::string line; std::getline(stream, line);) {
    EXPECT_THAT(line, testing::MatchesRegex("T[0-9]+ nrta?_.* ; [0-9]+ ns at [0-9]+ ns, process [0-9]+"));
    lines.push_back(line.substr(0, line.find(" ; ")));
  }
  return lines;
}

TEST_F(Vendor, givenARecordWhenTheSameProgramRunsOnOurRuntimeAndBehindTheFrontDoorThenItIsTheSame) {
  const std::string own = (folder / "own.txt").string(), vendor = (folder / "vendor.txt").string();
  succeeded(in_child([&] {
    setenv("OPENNRT_BACKEND", "sim", 1);
    setenv("OPENNRT_CALL_RECORD", own.c_str(), 1);
    return whole_flow();
  }));
  succeeded(forwarded(library("stand_in"), [&] {
    setenv("OPENNRT_CALL_RECORD", vendor.c_str(), 1);
    return whole_flow();
  }));
  const auto lines = calls_in(text_of(own));
  EXPECT_EQ(lines, calls_in(text_of(vendor)));
  ASSERT_EQ(lines.size(), 18u);
  EXPECT_EQ(lines.front(), "T0 nrt_init(framework=1, fw_version=*, fal_version=*) = NRT_SUCCESS");
  EXPECT_THAT(
      lines,
      testing::Contains("T0 nrt_tensor_allocate(tensor_placement=2, vnc=0, size=256, name=*, tensor=*) = NRT_SUCCESS"));
  EXPECT_THAT(lines, testing::Contains("T0 nrt_tensor_read(tensor=*, buf=*, offset=256, size=1) = NRT_INVALID"));
  EXPECT_THAT(lines, testing::Contains("T0 nrt_tensor_free(tensor=*)"));
  EXPECT_EQ(lines.back(), "T0 nrt_close()");
}

TEST_F(Vendor, givenStatisticsWhenClosedThenTheyHaveCallsFailuresAndTimeByFunction) {
  for (const bool forward : {false, true}) {
    const std::string file = (folder / "stats.json").string();
    const auto body = [&] {
      setenv("OPENNRT_CALL_STATS", file.c_str(), 1);
      return whole_flow();
    };
    succeeded(forward ? forwarded(library("stand_in"), body) : in_child([&] {
      setenv("OPENNRT_BACKEND", "sim", 1);
      return body();
    }));
    const auto stats = nlohmann::json::parse(text_of(file));
    EXPECT_THAT(stats["backend"].get<std::string>(),
                forward ? HasSubstr("stand_in/libnrt.so.1, version 2.0.4242.7") : HasSubstr("own"));
    EXPECT_EQ(stats["functions"]["nrt_tensor_read"]["calls"], 2);
    EXPECT_EQ(stats["functions"]["nrt_tensor_read"]["failures"], 1);
    EXPECT_GT(stats["functions"]["nrt_execute"]["nanoseconds"], 0);
    EXPECT_EQ(stats["functions"]["nrt_close"]["calls"], 1);
    EXPECT_FALSE(stats["functions"].contains("nrt_barrier"));
  }
}

TEST_F(Vendor, givenAnExitWithoutCloseWhenStatisticsAreWantedThenTheyAreWritten) {
  const std::string file = (folder / "stats.json").string();
  succeeded(forwarded(
      library("stand_in"),
      [&] {
        setenv("OPENNRT_CALL_STATS", file.c_str(), 1);
        std::uint32_t total = 0;
        return nrt_get_total_nc_count(&total) == NRT_SUCCESS ? 0 : 1;
      },
      true));
  EXPECT_EQ(nlohmann::json::parse(text_of(file))["functions"]["nrt_get_total_nc_count"]["calls"], 1);
}

TEST_F(Vendor, givenARecordThatCannotBeWrittenWhenOpenedThenTheVariableIsNamed) {
  const Ended ended = in_child([&] {
    setenv("OPENNRT_BACKEND", "null", 1);
    setenv("OPENNRT_CALL_RECORD", "/nowhere/at/all", 1);
    return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_INVALID ? 0 : 1;
  });
  succeeded(ended);
  EXPECT_THAT(ended.err,
              HasSubstr("OPENNRT_CALL_RECORD is \"/nowhere/at/all\", expected a file to append to: No such file"));
}

}  // namespace
}  // namespace vendor_test
