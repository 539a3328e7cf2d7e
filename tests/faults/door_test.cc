// SPDX-License-Identifier: Apache-2.0
//
// docs/fault-injection.md: faults at the front door, on any backend, the vendor's runtime included: a status instead of the work or
// after it, latencies, limits of memory, markers. A faulted call leaves everything as it was.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>
#include <opennrt/marker.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "core/faults/report.h"
#include "tests/faults/chip_tensors.h"
#include "tests/process/helpers.h"
#include "tests/unit/tools/process.h"

namespace fault_test {
namespace {

using opennrt::faults::Reported;
using process_test::Ended;
using process_test::in_child;
using ::testing::HasSubstr;

#define REQUIRE(condition)                                                      \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                                 \
    }                                                                           \
  } while (false)

std::string of_build(const char* name) {
  return std::string(std::getenv("OPENNRT_BUILD_DIR")) + "/" + name;
}

NRT_STATUS open_library() {
  return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
}

NRT_STATUS load(nrt_model_t** model, const char* name = "a model") {
  auto builder = opennrt::test::NeffBuilder::of(
      opennrt::test::binary_program(opennrt::isa::Alu::kAdd, kPartitions, kColumns).graph);
  builder.header.name = name;
  const auto neff = builder.build();
  return nrt_load(neff.data(), neff.size(), 0, 1, model);
}

/// Each case with the vendor's runtime (which a second build of ours stands in for), and with our own.
class Door : public ::testing::TestWithParam<const char*> {
 protected:
  /// `body` in a process of its own.
  Ended under(const std::string& rules, const std::function<int()>& body) {
    return in_child([&] {
      setenv("OPENNRT_RUNTIME_DIR", folder_.path().c_str(), 1);
      setenv("OPENNRT_BACKEND", GetParam(), 1);
      setenv("OPENNRT_VENDOR_LIBNRT", of_build("tests/vendor/stand_in/libnrt.so.1").c_str(), 1);
      setenv("OPENNRT_FAULTS", ("{\"version\": 1, \"seed\": 3, \"rules\": [" + rules + "]}").c_str(), 1);
      setenv("OPENNRT_FAULTS_REPORT", (folder_ / "report").c_str(), 1);
      setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
      return body();
    });
  }
  Reported reported() const {
    const auto read = opennrt::faults::read_report(folder_ / "report");
    EXPECT_TRUE(read) << read.error().message;
    return read ? *read : Reported{};
  }
  static void succeeded(const Ended& ended) { EXPECT_TRUE(ended.exited(0)) << ended.status << "\n" << ended.err; }

  opennrt::test::TemporaryFolder folder_;
};

TEST_P(Door, givenAStatusInsteadOfTheWorkThenNothingIsDoneOrWrittenAndTheNextCallIsWell) {
  const Ended ended = under(
      R"({"name": "no load", "fault": "fd_status", "where": {"function": "nrt_load"}, "detail": {"status": "NRT_RESOURCE"}})",
      [] {
        REQUIRE(open_library() == NRT_SUCCESS);
        auto* const untouched = reinterpret_cast<nrt_model_t*>(0x5);
        nrt_model_t* model = untouched;
        REQUIRE(load(&model) == NRT_RESOURCE);
        REQUIRE(model == untouched);
        REQUIRE(load(&model) == NRT_SUCCESS);
        REQUIRE(nrt_unload(model) == NRT_SUCCESS);
        nrt_close();
        return 0;
      });
  succeeded(ended);
  EXPECT_THAT(ended.err, HasSubstr("fault injection: NRT_RESOURCE (4) is returned and nothing is done"));
  const Reported report = reported();
  ASSERT_EQ(report.strikes.size(), 1u);
  EXPECT_EQ(report.strikes[0].rule.name, "no load");
  EXPECT_EQ(report.strikes[0].event, 1u);
  EXPECT_EQ(report.strikes[0].function, "nrt_load");
  ASSERT_EQ(report.statuses.size(), 1u);
  EXPECT_EQ(report.statuses[0].status, "NRT_RESOURCE");
  ASSERT_EQ(report.closed.size(), 1u);
  EXPECT_TRUE(report.closed[0].none());
}

TEST_P(Door, givenAStatusAfterTheWorkThenWhatWasGivenIsTakenBackAndNothingLeaks) {
  const Ended ended = under(
      R"({"fault": "fd_status", "where": {"function": "nrt_*"}, "detail": {"status": "NRT_FAILURE", "moment": "after"}})",
      [] {
        REQUIRE(open_library() == NRT_FAILURE);
        uint32_t count = 77;
        REQUIRE(nrt_get_visible_nc_count(&count) == NRT_FAILURE && count == 77);
        uint32_t id = 0;  // nrt_init was taken back
        REQUIRE(nrt_host_device_id_get(0, &id) == NRT_CLOSED || nrt_host_device_id_get(0, &id) == NRT_UNINITIALIZED);
        nrt_model_t* model = nullptr;
        REQUIRE(open_library() == NRT_SUCCESS);
        REQUIRE(load(&model) == NRT_FAILURE && model == nullptr);
        nrt_tensor_t* tensor = nullptr;
        REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", &tensor) == NRT_FAILURE);
        REQUIRE(tensor == nullptr);
        nrt_tensor_set_t* set = nullptr;
        REQUIRE(nrt_allocate_tensor_set(&set) == NRT_FAILURE && set == nullptr);
        REQUIRE(load(&model) == NRT_SUCCESS && model != nullptr);
        nrt_tensor_info_array_t* info = nullptr;
        REQUIRE(nrt_get_model_tensor_info(model, &info) == NRT_FAILURE && info == nullptr);
        REQUIRE(nrt_get_model_tensor_info(model, &info) == NRT_SUCCESS && info->tensor_count == 3);
        REQUIRE(nrt_free_model_tensor_info(info) == NRT_FAILURE);  // the work was done
        REQUIRE(nrt_unload(model) == NRT_FAILURE);
        REQUIRE(nrt_unload(model) == NRT_INVALID_HANDLE);
        nrt_close();
        return 0;
      });
  succeeded(ended);
  const Reported report = reported();
  ASSERT_FALSE(report.closed.empty());
  EXPECT_TRUE(report.closed.back().none())
      << report.closed.back().models << " " << report.closed.back().tensors << " " << report.closed.back().tensor_sets;
}

TEST_P(Door, givenWhatAClientForgetsThenTheReportHasIt) {
  succeeded(under("", [] {
    REQUIRE(open_library() == NRT_SUCCESS);
    nrt_model_t* model = nullptr;
    nrt_tensor_t *tensor = nullptr, *slice = nullptr;
    nrt_tensor_set_t* set = nullptr;
    REQUIRE(load(&model) == NRT_SUCCESS);
    REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", &tensor) == NRT_SUCCESS);
    REQUIRE(nrt_tensor_allocate_slice(tensor, 0, 8, "s", &slice) == NRT_SUCCESS);
    REQUIRE(nrt_allocate_tensor_set(&set) == NRT_SUCCESS);
    nrt_destroy_tensor_set(&set);
    nrt_close();
    return 0;
  }));
  const Reported report = reported();
  ASSERT_EQ(report.closed.size(), 1u);
  EXPECT_EQ(report.closed[0].models, 1u);
  EXPECT_EQ(report.closed[0].tensors, 2u);
  EXPECT_EQ(report.closed[0].tensor_sets, 0u);
}

TEST_P(Door, givenNamesOfATensorAndAModelThenOnlyTheirCallsAreStruck) {
  succeeded(under(
      R"({"fault": "fd_status", "where": {"tensor": "b*"}, "times": 0, "detail": {"status": "NRT_INVALID"}},
         {"fault": "fd_status", "where": {"model": "second", "function": "nrt_get_model_*"}, "detail": {"status": "NRT_TIMEOUT"}})",
      [] {
        REQUIRE(open_library() == NRT_SUCCESS);
        nrt_tensor_t* tensor = nullptr;
        REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "bad", &tensor) == NRT_INVALID);
        REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "a", &tensor) == NRT_SUCCESS);
        REQUIRE(nrt_tensor_write(tensor, "x", 0, 1) == NRT_SUCCESS);
        nrt_tensor_free(&tensor);
        nrt_model_t *first = nullptr, *second = nullptr;
        REQUIRE(load(&first, "first") == NRT_SUCCESS && load(&second, "second") == NRT_SUCCESS);
        uint32_t count = 0;
        REQUIRE(nrt_get_model_vnc_count(first, &count) == NRT_SUCCESS);
        REQUIRE(nrt_get_model_vnc_count(second, &count) == NRT_TIMEOUT);
        REQUIRE(nrt_get_model_vnc_count(second, &count) == NRT_SUCCESS);
        REQUIRE(nrt_unload(first) == NRT_SUCCESS && nrt_unload(second) == NRT_SUCCESS);
        nrt_close();
        return 0;
      }));
}

TEST_P(Door, givenALimitThenWhatPassesItIsRefusedUntilSomethingIsFreed) {
  const Ended ended = under(R"({"fault": "fd_allocation_limit", "times": 0, "detail": {"bytes": 100}})", [] {
    REQUIRE(open_library() == NRT_SUCCESS);
    nrt_tensor_t *one = nullptr, *two = nullptr;
    nrt_model_t* model = nullptr;
    REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 60, "one", &one) == NRT_SUCCESS);
    REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 41, "two", &two) == NRT_RESOURCE);
    REQUIRE(two == nullptr);
    REQUIRE(load(&model) == NRT_RESOURCE && model == nullptr);
    REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 40, "two", &two) == NRT_SUCCESS);
    nrt_tensor_free(&one);
    REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 60, "one", &one) == NRT_SUCCESS);
    nrt_tensor_free(&one);
    nrt_tensor_free(&two);
    nrt_close();
    return 0;
  });
  succeeded(ended);
  EXPECT_THAT(ended.err, HasSubstr("out of device memory: 41 bytes asked for, 40 of 100 free"));
  EXPECT_EQ(reported().strikes.size(), 2u);
}

TEST_P(Door, givenALatencyThenTheCallTakesAtLeastThatAndDoesItsWork) {
  succeeded(under(
      R"({"fault": "fd_latency", "where": {"function": "nrt_tensor_allocate"}, "when": {"nth": 2}, "detail": {"us": 30000, "moment": "after"}})",
      [] {
        REQUIRE(open_library() == NRT_SUCCESS);
        nrt_tensor_t* tensor = nullptr;
        for (int i = 0; i < 2; ++i) {
          const auto begin = std::chrono::steady_clock::now();
          REQUIRE(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 60, "t", &tensor) == NRT_SUCCESS);
          if (i == 1) REQUIRE(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(30));
          nrt_tensor_free(&tensor);
        }
        nrt_close();
        return 0;
      }));
  ASSERT_EQ(reported().strikes.size(), 1u);
  EXPECT_EQ(reported().strikes[0].event, 2u);
}

TEST_P(Door, givenMarkersThenARuleHoldsBetweenThem) {
  succeeded(under(
      R"({"fault": "fd_status", "where": {"function": "nrt_get_visible_nc_count"}, "times": 0,
          "when": {"between": ["nrt_allocate_tensor_set:2", "warm"]}, "detail": {"status": "NRT_FAILURE"}})",
      [] {
        REQUIRE(open_library() == NRT_SUCCESS);
        uint32_t count = 0;
        nrt_tensor_set_t *first = nullptr, *second = nullptr;
        REQUIRE(nrt_allocate_tensor_set(&first) == NRT_SUCCESS);
        REQUIRE(nrt_get_visible_nc_count(&count) == NRT_SUCCESS);
        REQUIRE(nrt_allocate_tensor_set(&second) == NRT_SUCCESS);
        REQUIRE(nrt_get_visible_nc_count(&count) == NRT_FAILURE);
        opennrt_marker(nullptr);
        opennrt_marker("cold");
        REQUIRE(nrt_get_visible_nc_count(&count) == NRT_FAILURE);
        opennrt_marker("warm");
        REQUIRE(nrt_get_visible_nc_count(&count) == NRT_SUCCESS);
        nrt_destroy_tensor_set(&first);
        nrt_destroy_tensor_set(&second);
        nrt_close();
        return 0;
      }));
}

TEST_P(Door, givenAMarkerPassedWhileTheLibraryIsClosedThenTheDriversFaultsKnowItAtOnce) {
  if (std::string_view(GetParam()) == "vendor") return;  // has no faults of the driver
  succeeded(under(R"({"fault": "drv_open_fail", "times": 0, "when": {"between": ["nrt_close", "nrt_init:2"]}})", [] {
    REQUIRE(open_library() == NRT_SUCCESS);
    nrt_close();
    REQUIRE(open_library() != NRT_SUCCESS);
    REQUIRE(open_library() == NRT_SUCCESS);
    nrt_close();
    return 0;
  }));
}

TEST_P(Door, givenAPlanThatIsWrongThenNoCallPassesAndItSaysWhere) {
  const Ended wrong = under(R"({"fault": "fd_status", "detail": {"status": "NRT_TIMEOT"}})", [] {
    REQUIRE(open_library() == NRT_INVALID);
    unsetenv("OPENNRT_FAULTS");
    REQUIRE(open_library() == NRT_SUCCESS);
    nrt_close();
    return 0;
  });
  succeeded(wrong);
  EXPECT_THAT(wrong.err, HasSubstr("rules[0].detail.status"));
  const Ended nothing =
      under(R"({"fault": "fd_status", "where": {"function": "nrt_close"}, "detail": {"status": "NRT_FAILURE"}})",
            [] { return open_library() == NRT_INVALID ? 0 : 1; });
  succeeded(nothing);
  EXPECT_THAT(nothing.err, HasSubstr("rules[0].where.function is \"nrt_close\", which returns no NRT_STATUS"));
}

TEST_P(Door, givenTheSamePlanWhenOpenedAgainThenWhatHasStruckHasStruck) {
  succeeded(
      under(R"({"fault": "fd_status", "where": {"function": "nrt_init"}, "detail": {"status": "NRT_FAILURE"}})", [] {
        REQUIRE(open_library() == NRT_FAILURE);
        for (int i = 0; i < 2; ++i) {
          REQUIRE(open_library() == NRT_SUCCESS);
          nrt_close();
        }
        return 0;
      }));
  EXPECT_EQ(reported().strikes.size(), 1u);
}

// A plan that is wrong is said once: nrt_get_status_as_str answers without it.
TEST_P(Door, givenAWrongPlanThenItIsSaidOnceByTheCallThatIsRefused) {
  const Ended ended =
      under(R"({"fault": "fd_status", "where": {"function": "nrt_close"}, "detail": {"status": "NRT_FAILURE"}})", [] {
        REQUIRE(open_library() == NRT_INVALID);
        REQUIRE(std::string(nrt_get_status_as_str(NRT_INVALID)) == "NRT_INVALID");
        return 0;
      });
  succeeded(ended);
  const std::string said =
      "rules[0].where.function is \"nrt_close\", which returns no NRT_STATUS, expected one that does";
  EXPECT_THAT(ended.err, HasSubstr("OPENNRT_FAULTS:1: " + said));
  EXPECT_EQ(ended.err.find(said), ended.err.rfind(said)) << ended.err;
}

// A limit of memory counts a call that a status of choice ends.
TEST_P(Door, givenAStatusForACallThenALimitHasCountedItToo) {
  const Ended ended = under(
      R"({"fault": "fd_status", "where": {"function": "nrt_load"}, "detail": {"status": "NRT_TIMEOUT"}},
         {"fault": "fd_allocation_limit", "where": {"function": "nrt_load"}, "when": {"nth": 2}})",
      [] {
        nrt_model_t* model = nullptr;
        REQUIRE(open_library() == NRT_SUCCESS);
        REQUIRE(load(&model) == NRT_TIMEOUT);
        REQUIRE(load(&model) == NRT_RESOURCE);
        REQUIRE(load(&model) == NRT_SUCCESS);
        REQUIRE(nrt_unload(model) == NRT_SUCCESS);
        nrt_close();
        return 0;
      });
  succeeded(ended);
}

INSTANTIATE_TEST_SUITE_P(, Door, ::testing::Values("null", "sim", "vendor"),
                         [](const auto& one) { return std::string(one.param); });

TEST(Marker, givenTheLibraryThenItExportsTheMarkerAtAVersionOfItsOwn) {
  void* library = dlopen("libnrt.so.1", RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(library, nullptr);
  EXPECT_EQ(dlvsym(library, "opennrt_marker", "OPENNRT_1.0"), reinterpret_cast<void*>(&opennrt_marker));
  dlclose(library);
}

}  // namespace
}  // namespace fault_test
