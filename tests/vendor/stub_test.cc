// SPDX-License-Identifier: Apache-2.0
// A runtime that lacks functions, is too old, or is none: what is forwarded, what is refused, and with which words.
#include <dlfcn.h>
#include <elf.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_experimental.h>
#include <nrt/nrt_profile.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/vendor/fixture.h"

namespace vendor_test {
namespace {

nrt_tensor_t* number(std::size_t value) {
  return reinterpret_cast<nrt_tensor_t*>(value);
}

TEST_F(Vendor, givenALibraryThatCallsItselfByNameWhenCalledThenItReachesItselfAndNotUs) {
  succeeded(forwarded(library("stub"), [] {
    // Our own nrt_tensor_get_size comes first in the global scope of this program and gives 0 for what is no tensor.
    EXPECT_IN_CHILD(nrt_execute(nullptr, nullptr, nullptr) == static_cast<NRT_STATUS>(1999));
    EXPECT_IN_CHILD(nrt_tensor_get_size(number(40)) == 4711);
    EXPECT_IN_CHILD(nrt_tensor_get_va(number(41)) == number(42));
    return 0;
  }));
}

TEST_F(Vendor, givenCountsBeforeInitWhenAskedForThenTheVendorsLibraryHasAnswered) {
  succeeded(forwarded(library("stub"), [] {
    std::uint32_t count = 0;
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_SUCCESS && count == 4000);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);  // the second one is its business, too
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_SUCCESS && count == 4002);
    nrt_close();
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_SUCCESS && count == 3902);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_PYTORCH, "", "") == NRT_HW_ERROR);  // its failure is ours
    return 0;
  }));
}

TEST_F(Vendor, givenACallbackWhenTheLibraryCallsItThenItsArgumentsHaveComeThrough) {
  succeeded(forwarded(library("stub"), [] {
    static bool called = false;
    const auto callback = [](void* params, std::uint32_t model, std::uint32_t vnc, std::uint64_t job,
                             NRT_STATUS status) {
      called = params == &called && model == 1 && vnc == 2 && job == 3 && status == NRT_EXEC_OOB;
    };
    EXPECT_IN_CHILD(nrt_register_async_exec_callback(callback, &called) == NRT_SUCCESS);
    (void)nrt_execute(nullptr, nullptr, nullptr);
    EXPECT_IN_CHILD(called);
    EXPECT_IN_CHILD(nrt_async_drain_queued_execs(3) == NRT_QUEUE_EMPTY);
    EXPECT_IN_CHILD(nrt_async_drain_queued_execs(4) == NRT_TIMEOUT);
    return 0;
  }));
}

TEST_F(Vendor, givenAFunctionThatTheLibraryLacksWhenCalledThenItIsNotSupportedAndSaidOnce) {
  const Ended ended = forwarded(library("stub"), [] {
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    nrt_tensor_t* tensor = nullptr;
    for (int i = 0; i < 3; ++i)
      EXPECT_IN_CHILD(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, 8, "t", &tensor) == NRT_INVALID);
    EXPECT_IN_CHILD(tensor == nullptr);
    nrt_tensor_free(&tensor);
    nrta_seq_t seq = 0;
    EXPECT_IN_CHILD(nrta_get_sequence(0, NRTA_XU_COMPUTE, 0, &seq) == NRT_INVALID);
    int error = 0;
    char text[8] = "";
    EXPECT_IN_CHILD(nrt_get_libnccl_net(&error, text, sizeof(text)) == nullptr && error == NRT_INVALID &&
                    text[0] != '\0');
    EXPECT_IN_CHILD(std::string(nrt_get_status_as_str(NRT_EXEC_OOB)) == "NRT_EXEC_OOB");
    return 0;
  });
  succeeded(ended);
  const std::string line = "not supported: the vendor's library has no such function (" +
                           std::filesystem::canonical(library("stub")).string() + ", version 2.77.5.0)";
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = ended.err.find(line, at)) != std::string::npos; ++at) ++lines;
  EXPECT_EQ(lines, 3u) << ended.err;  // nrt_tensor_allocate, nrt_tensor_free, nrta_get_sequence
  EXPECT_THAT(ended.err, HasSubstr("NRT:nrt_tensor_allocate"));
}

TEST_F(Vendor, givenTheInformationBlockWhenOpenedThenItSaysWhoAnswersAndWhatIsMissing) {
  const Ended ended = forwarded(library("stub"), [] {
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    nrt_close();
    return 0;
  });
  succeeded(ended);
  const std::string path = std::filesystem::canonical(library("stub")).string();
  const std::string once = "OPENNRT_BACKEND is vendor: every call is forwarded to " + path + ", version 2.77.5.0";
  ASSERT_THAT(ended.err, HasSubstr(once));
  EXPECT_EQ(ended.err.find(once, ended.err.find(once) + 1), std::string::npos) << "stated once";
  EXPECT_THAT(ended.err, HasSubstr("Its version: stub (stubhash)"));
  EXPECT_THAT(ended.err, HasSubstr("Functions: 9 of 126, 2 references of it bound to itself"));
  EXPECT_THAT(ended.err, HasSubstr("nrta_execute_schedule"));
  EXPECT_THAT(ended.err, HasSubstr("2 calls have been forwarded, 0 of them failed"));
}

TEST_F(Vendor, givenFilesThatAreNoRuntimeWhenOpenedThenTheLineNamesPathReasonAndExpectation) {
  const std::string text = (folder / "text.so").string();
  std::ofstream(text) << "not a library, but longer than the header of an ELF file, which has sixty-four bytes\n";
  const std::string foreign = (folder / "foreign.so").string();
  std::filesystem::copy_file(library("stub"), foreign);
  {
    std::fstream file(foreign, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offsetof(Elf64_Ehdr, e_machine));
    const Elf64_Half machine = EM_RISCV;
    file.write(reinterpret_cast<const char*>(&machine), sizeof(machine));
  }
  const std::string broken = (folder / "broken.so").string();
  std::filesystem::copy_file(library("stub"), broken);
  std::filesystem::resize_file(broken, 1000);
  const struct {
    std::string path, reason;
  } cases[] = {{(folder / "none.so").string(), "it cannot be read: No such file or directory"},
               {folder.path().string(), "it is not a regular file"},
               {text, "it is not an ELF file"},
               {foreign, "it is for another architecture (ELF class 2, machine 243), expected"},
               {broken, "it is truncated: "},
               {std::filesystem::read_symlink("/proc/self/exe").string(), "it cannot be loaded: "},
               {own_library(), "it is OpenNRT, which does not forward to itself"},
               {library("old_stub"), "its version is 1.77.5.0, which is too old"},
               {library("headless_stub"), "it has no nrt_init"}};
  for (const auto& one : cases) {
    const Ended ended = forwarded(one.path, [] {
      std::uint32_t count = 12;
      EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_FAILURE && count == 12);
      EXPECT_IN_CHILD(nrt_tensor_get_size(number(1)) == 0);
      EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_FAILURE);
      EXPECT_IN_CHILD(std::string(nrt_get_status_as_str(NRT_FAILURE)) == "NRT_FAILURE");
      nrt_close();
      return 0;
    });
    succeeded(ended);
    EXPECT_THAT(ended.err, HasSubstr("its library is \"" + one.path + "\": " + one.reason));
    EXPECT_THAT(ended.err, HasSubstr("expected the Neuron runtime's libnrt.so.1, version 2.x"));
    EXPECT_THAT(ended.err, HasSubstr("NRT:nrt_init"));
  }
}

TEST_F(Vendor, givenACopyOfOurselvesWhenNamedThenItIsRecognisedByWhatItIs) {
  const std::string copy = (folder / "libother.so").string();
  std::filesystem::copy_file(own_library(), copy);
  const Ended ended = forwarded(copy, [] { return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_FAILURE ? 0 : 1; });
  succeeded(ended);
  EXPECT_THAT(ended.err, HasSubstr("it is OpenNRT, which does not forward to itself"));
}

TEST_F(Vendor, givenNothingNamedWhenOpenedThenThePlaceOfThePackagesIsLookedAt) {
  if (std::filesystem::exists("/opt/aws/neuron/lib/libnrt.so.1")) GTEST_SKIP() << "this machine has a vendor's runtime";
  const Ended ended = forwarded("", [] { return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_FAILURE ? 0 : 1; });
  succeeded(ended);
  EXPECT_THAT(ended.err, HasSubstr("/opt/aws/neuron/lib/libnrt.so.1"));
}

TEST_F(Vendor, givenALibraryThatCouldNotBeUsedWhenAnotherIsNamedThenItIsTaken) {
  succeeded(forwarded((folder / "none.so").string(), [] {
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_FAILURE);
    setenv("OPENNRT_VENDOR_LIBNRT", library("stub").c_str(), 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    EXPECT_IN_CHILD(nrt_tensor_get_size(number(1)) == 4711);
    return 0;
  }));
}

TEST_F(Vendor, givenALibraryThatCallsTheApiWhileItIsLoadedThenThatCallIsRefusedAndTheRestWorks) {
  const Ended ended = forwarded(library("eager_stub"), [] {
    std::uint32_t count = 0;
    EXPECT_IN_CHILD(nrt_get_visible_nc_count(&count) == NRT_FAILURE && count == 5);  // what its constructor was told
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_SUCCESS && count == 4000);
    return 0;
  });
  succeeded(ended);
  EXPECT_THAT(ended.err, HasSubstr("called by the vendor's library while that is being loaded"));
}

TEST_F(Vendor, givenAProcessThatUsedTheVendorsLibraryWhenItWantsAnotherBackendThenThatIsRefused) {
  const Ended ended = forwarded(library("stub"), [] {
    std::uint32_t count = 0;
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_SUCCESS);
    setenv("OPENNRT_BACKEND", "null", 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_FAILURE);
    setenv("OPENNRT_BACKEND", "vendor", 1);
    setenv("OPENNRT_VENDOR_LIBNRT", library("old_stub").c_str(), 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_FAILURE);
    setenv("OPENNRT_VENDOR_LIBNRT", library("stub").c_str(), 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    return 0;
  });
  succeeded(ended);
  EXPECT_THAT(ended.err, HasSubstr("OPENNRT_BACKEND is \"null\", but this process has used the vendor's library"));
  EXPECT_THAT(ended.err, HasSubstr("expected the same library, or another process"));
}

TEST_F(Vendor, givenObjectsOfOurOwnWhenTheVendorIsAskedForThenThatIsRefused) {
  const Ended ended = in_child([] {
    setenv("OPENNRT_BACKEND", "null", 1);
    setenv("OPENNRT_VENDOR_LIBNRT", library("stub").c_str(), 1);
    nrt_profile_continuous_options_t* options = nullptr;
    EXPECT_IN_CHILD(nrt_profile_continuous_options_allocate(&options) == NRT_SUCCESS);
    setenv("OPENNRT_BACKEND", "vendor", 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_FAILURE);
    EXPECT_IN_CHILD(nrt_profile_continuous_options_free(options) == NRT_SUCCESS);  // still who made it
    return 0;
  });
  succeeded(ended);
  EXPECT_THAT(ended.err, HasSubstr("this process has used OpenNRT's own runtime"));
}

TEST_F(Vendor, givenNoObjectsYetWhenTheBackendIsSetAfterAFirstQuestionThenInitTakesIt) {
  succeeded(in_child([] {
    setenv("OPENNRT_BACKEND", "null", 1);
    std::uint32_t count = 0;
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_SUCCESS && count < 100);
    setenv("OPENNRT_BACKEND", "vendor", 1);
    setenv("OPENNRT_VENDOR_LIBNRT", library("stub").c_str(), 1);
    EXPECT_IN_CHILD(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS);
    EXPECT_IN_CHILD(nrt_get_total_nc_count(&count) == NRT_SUCCESS && count == 4001);
    return 0;
  }));
}

TEST_F(Vendor, givenManyThreadsWhenTheFirstCallsComeAtOnceThenOneLibraryAnswersThemAll) {
  succeeded(forwarded(library("stub"), [] {
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 200; ++k) right += nrt_tensor_get_size(number(1)) == 4711 ? 1 : 0;
      });
    }
    for (std::thread& thread : threads) thread.join();
    return right == 8 * 200 ? 0 : 1;
  }));
}

}  // namespace
}  // namespace vendor_test
