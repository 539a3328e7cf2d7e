// SPDX-License-Identifier: Apache-2.0
// Requirements A3, A4, B1 to B6: opening, closing, which cores, and what comes at the wrong moment.
#include <sys/wait.h>

#include <functional>
#include <thread>
#include <utility>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

using Lifecycle = Logged;

/// Every function that needs the library to be open.
std::vector<std::pair<const char*, std::function<NRT_STATUS()>>> calls_that_need_it_open() {
  static int some;
  auto* model = reinterpret_cast<nrt_model_t*>(&some);
  auto* tensor = reinterpret_cast<nrt_tensor_t*>(&some);
  nrt_tensor_set_t* set = &some;
  static nrt_tensor_t* made;
  static nrt_tensor_set_t* made_set;
  static nrt_model_t* loaded;
  static nrt_tensor_info_array_t* info;
  static std::uint32_t number;
  static std::size_t size;
  static void* address;
  static nrt_tensor_device_allocation_info_t allocation;
  static nrt_vnc_memory_stats_t stats;
  static nrt_model_info_t model_info;
  static int file;
  static bool completed;
  static nrta_seq_t sequence;
  static nrta_error_tracker_t* tracker;
  static nrt_cc_comm_t comm;
  static nrt_tensor_list_t tensors;
  static nrt_cc_context_t* context;
  static nrt_async_sendrecv_comm_t* peer;
  auto* errors = reinterpret_cast<nrta_error_tracker_t*>(&some);
  return {
      {"load", [=] { return nrt_load(&some, 4, -1, -1, &loaded); }},
      {"load_collectives", [=] { return nrt_load_collectives(&some, 4, -1, -1, 0, 1, &loaded); }},
      {"unload", [=] { return nrt_unload(model); }},
      {"get_model_nc_count", [=] { return nrt_get_model_nc_count(model, &number); }},
      {"get_model_vnc_count", [=] { return nrt_get_model_vnc_count(model, &number); }},
      {"get_model_instance_count", [=] { return nrt_get_model_instance_count(model, &number); }},
      {"get_model_info", [=] { return nrt_get_model_info(model, &model_info, sizeof(model_info), &size); }},
      {"get_model_tensor_info", [=] { return nrt_get_model_tensor_info(model, &info); }},
      {"allocate_tensor_set", [=] { return nrt_allocate_tensor_set(&made_set); }},
      {"add_tensor_to_tensor_set", [=] { return nrt_add_tensor_to_tensor_set(set, "x", tensor); }},
      {"get_tensor_from_tensor_set", [=] { return nrt_get_tensor_from_tensor_set(set, "x", &made); }},
      {"execute", [=] { return nrt_execute(model, set, set); }},
      {"execute_repeat", [=] { return nrt_execute_repeat(model, set, set, 1); }},
      {"tensor_allocate", [=] { return nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, 4, "x", &made); }},
      {"tensor_allocate_empty", [=] { return nrt_tensor_allocate_empty("x", &made); }},
      {"tensor_allocate_slice", [=] { return nrt_tensor_allocate_slice(tensor, 0, 4, "x", &made); }},
      {"tensor_attach_buffer", [=] { return nrt_tensor_attach_buffer(tensor, &some, 4); }},
      {"tensor_read", [=] { return nrt_tensor_read(tensor, &some, 0, 4); }},
      {"tensor_write", [=] { return nrt_tensor_write(tensor, &some, 0, 4); }},
      {"tensor_read_batch", [=] { return nrt_tensor_read_batch(nullptr, 0, false); }},
      {"tensor_write_batch", [=] { return nrt_tensor_write_batch(nullptr, 0, false); }},
      {"tensor_copy", [=] { return nrt_tensor_copy(tensor, 0, tensor, 0, 4); }},
      {"tensor_memset", [=] { return nrt_tensor_memset(tensor, 0, 0, 4); }},
      {"tensor_get_device_allocation_info", [=] { return nrt_tensor_get_device_allocation_info(tensor, &allocation); }},
      {"tensor_check_output_completion", [=] { return nrt_tensor_check_output_completion(tensor, 0, 0); }},
      {"tensor_reset_output_completion", [=] { return nrt_tensor_reset_output_completion(tensor); }},
      {"get_vnc_memory_stats", [=] { return nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), &size); }},
      {"host_device_id_get", [=] { return nrt_host_device_id_get(0, &number); }},
      {"host_device_id_rid_map_get", [=] { return nrt_host_device_id_rid_map_get(&number, &number); }},
      {"get_dmabuf_fd", [=] { return nrt_get_dmabuf_fd(0, 0, nullptr); }},
      {"get_hbm_mmap_va", [=] { return nrt_get_hbm_mmap_va(0, 0, &address, &size); }},
      {"get_attached_efa_bdf", [=] { return nrt_get_attached_efa_bdf(nullptr, nullptr, nullptr); }},
      {"build_global_comm", [=] { return nrt_build_global_comm(0, 0, 1); }},
      {"cc_global_comm_init", [=] { return nrt_cc_global_comm_init(0, 0, 1); }},
      {"barrier", [=] { return nrt_barrier(0, 0, 1); }},
      {"all_gather", [=] { return nrt_all_gather(0, 0, 1, 4, &some, &some); }},
      {"async_drain_queued_execs", [=] { return nrt_async_drain_queued_execs(0); }},
      {"register_async_exec_callback", [=] { return nrt_register_async_exec_callback(nullptr, nullptr); }},
      {"memcpy_to_device", [=] { return nrt_memcpy_to_device(&some, &some, 4); }},
      {"trace_start", [=] { return nrt_trace_start(false); }},
      {"profile_start", [=] { return nrt_profile_start(model, "x"); }},
      {"profile_continuous_start", [=] { return nrt_profile_continuous_start(nullptr); }},
      {"debug_client_connect", [=] { return nrt_debug_client_connect(0, &file); }},
      {"nrta_get_sequence", [=] { return nrta_get_sequence(0, NRTA_XU_COMPUTE, 0, &sequence); }},
      {"nrta_is_completed", [=] { return nrta_is_completed(1, &completed); }},
      {"nrta_get_completion_handle", [=] { return nrta_get_completion_handle(1, &file); }},
      {"nrta_error_tracker_create", [=] { return nrta_error_tracker_create(0, &tracker); }},
      {"nrta_execute_schedule", [=] { return nrta_execute_schedule(model, set, set, 0, errors, &sequence); }},
      {"nrta_cc_prepare",
       [=] {
         return nrta_cc_prepare(&comm, &tensors, &tensors, NRT_DTYPE_FLOAT32, NRT_OP_ADD, NRT_CC_ALLGATHER, &context);
       }},
      {"nrta_cc_schedule", [=] { return nrta_cc_schedule(&context, 0, errors, &sequence); }},
      {"async_sendrecv_init", [=] { return nrt_async_sendrecv_init(0); }},
      {"async_sendrecv_connect", [=] { return nrt_async_sendrecv_connect("127.0.0.1", 0, 0, &peer); }},
      {"async_sendrecv_accept", [=] { return nrt_async_sendrecv_accept("127.0.0.1", 0, 0, &peer); }},
      {"nrta_tensor_read", [=] { return nrta_tensor_read(&some, tensor, 0, 4, 0, errors, &sequence); }},
      {"nrta_tensor_write", [=] { return nrta_tensor_write(tensor, &some, 0, 4, 0, errors, &sequence); }},
      {"nrta_tensor_copy", [=] { return nrta_tensor_copy(tensor, 0, tensor, 0, 4, 0, errors, &sequence); }},
  };
}

// In a child: whatever was open before, a forked process begins anew.
TEST_F(Lifecycle, givenALibraryThatWasNeverOpenedWhenCalledThenItSaysUninitialized) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int wrong = 0;
    for (const auto& [name, call] : calls_that_need_it_open()) {
      if (call() != NRT_UNINITIALIZED) ++wrong;
    }
    nrt_close();  // does nothing
    if (nrt_tensor_allocate_empty("x", nullptr) != NRT_UNINITIALIZED) ++wrong;
    _exit(wrong);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "calls with another status";
  EXPECT_TRUE(has_logged("NRT:nrt_execute                             called before nrt_init")) << logged();
}

TEST_F(Lifecycle, givenAClosedLibraryWhenCalledThenItSaysClosed) {
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_PYTORCH, "2.1", "1.0"), NRT_SUCCESS) << logged();
  nrt_close();
  for (const auto& [name, call] : calls_that_need_it_open()) EXPECT_EQ(call(), NRT_CLOSED) << name;
}

TEST_F(Lifecycle, givenAnyMomentWhenCountsVersionAndStatusAreAskedForThenTheyAnswer) {
  const auto ask = [&] {
    std::uint32_t total = 0, total_v = 0, visible = 0, visible_v = 0;
    EXPECT_EQ(nrt_get_total_nc_count(&total), NRT_SUCCESS) << logged();
    EXPECT_EQ(nrt_get_total_vnc_count(&total_v), NRT_SUCCESS);
    EXPECT_EQ(nrt_get_visible_nc_count(&visible), NRT_SUCCESS);
    EXPECT_EQ(nrt_get_visible_vnc_count(&visible_v), NRT_SUCCESS);
    EXPECT_GE(total, 4u);
    EXPECT_EQ(total, total_v);
    EXPECT_EQ(visible, total);
    EXPECT_EQ(visible_v, total);
    nrt_version_t version{};
    EXPECT_EQ(nrt_get_version(&version, sizeof(version)), NRT_SUCCESS);
    nrt_instance_info_t info{};
    EXPECT_EQ(nrt_get_instance_info(&info, sizeof(info)), NRT_SUCCESS);
    EXPECT_EQ(info.family, static_cast<std::uint32_t>(NRT_INSTANCE_INF1));
  };
  ask();
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  ask();
  nrt_close();
  ask();
}

TEST_F(Lifecycle, givenNullWhenCountsAreAskedForThenTheyAreInvalid) {
  EXPECT_EQ(nrt_get_total_nc_count(nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_total_vnc_count(nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_visible_nc_count(nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_visible_vnc_count(nullptr), NRT_INVALID);
  EXPECT_TRUE(has_logged("vnc_count is NULL"));
}

TEST_F(Lifecycle, givenManyRoundsWhenOpenedAndClosedThenEachIsAsGoodAsTheFirst) {
  for (int round = 0; round < 10; ++round) {
    ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << "round " << round << "\n" << logged();
    nrt_tensor_t* tensor = nullptr;
    EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 4096, "x", &tensor), NRT_SUCCESS);
    const Bytes data = pattern(4096, static_cast<unsigned>(round));
    EXPECT_EQ(nrt_tensor_write(tensor, data.data(), 0, data.size()), NRT_SUCCESS);
    Bytes back(4096);
    EXPECT_EQ(nrt_tensor_read(tensor, back.data(), 0, back.size()), NRT_SUCCESS);
    EXPECT_EQ(back, data);
    nrt_close();
    nrt_tensor_free(&tensor);
  }
}

TEST_F(Lifecycle, givenAnOpenLibraryWhenOpenedAgainThenItSucceedsWithAWarning) {
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, nullptr, nullptr), NRT_SUCCESS);
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, nullptr, nullptr), NRT_SUCCESS);
  EXPECT_TRUE(has_logged("already initialized"));
  nrt_close();
  nrt_tensor_set_t* set = nullptr;
  EXPECT_EQ(nrt_allocate_tensor_set(&set), NRT_CLOSED);
}

TEST_F(Lifecycle, givenAFrameworkThatIsNoneWhenOpenedThenItIsRefused) {
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_INVALID, "", ""), NRT_INVALID);
  EXPECT_EQ(nrt_init(static_cast<nrt_framework_type_t>(77), "", ""), NRT_INVALID);
  EXPECT_TRUE(has_logged("framework is 77, expected 1 to 5"));
}

TEST_F(Lifecycle, givenMalformedVariablesWhenOpenedThenTheyAreRefusedByNameAndValue) {
  for (const auto& [name, value] : std::map<std::string, std::string>{{"NEURON_RT_VISIBLE_CORES", "3,1"},
                                                                      {"NEURON_RT_NUM_CORES", "many"},
                                                                      {"NEURON_RT_EXEC_TIMEOUT", "-1"},
                                                                      {"NEURON_RT_VALIDATE_HASH", "perhaps"},
                                                                      {"NEURON_RT_LOG_LEVEL_NMGR", "LOUD"},
                                                                      {"NEURONCORE_GROUP_SIZES", "x"}}) {
    const Env env(name.c_str(), value);
    EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID) << name;
    EXPECT_TRUE(has_logged(name + " is \"" + value + "\"")) << logged();
  }
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  nrt_close();
}

TEST_F(Lifecycle, givenAnUnknownVariableWhenOpenedThenItIsIgnoredAndNamedAtDebugOnly) {
  const Env unknown("NEURON_RT_NOT_A_THING", "1");
  constexpr const char* kLine = "NEURON_RT_NOT_A_THING is not known here and ignored";
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  nrt_close();
  EXPECT_FALSE(has_logged(kLine));
  const Env level("NEURON_RT_LOG_LEVEL", "DEBUG");
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  nrt_close();
  EXPECT_TRUE(has_logged(std::string("DEBUG   NRT:nrt_config                              ") + kLine)) << logged();
}

TEST_F(Lifecycle, givenAnOpenLibraryWhenVariablesChangeThenTheyAreForTheNextOpening) {
  std::uint32_t total = 0, visible = 0;
  ASSERT_EQ(nrt_get_total_nc_count(&total), NRT_SUCCESS);
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  const Env cores("NEURON_RT_NUM_CORES", "1");
  const Env level("NEURON_RT_LOG_LEVEL", "LOUD");
  EXPECT_EQ(nrt_get_visible_nc_count(&visible), NRT_SUCCESS) << logged();
  EXPECT_EQ(visible, total);
  nrt_close();
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID);
  const Env again("NEURON_RT_LOG_LEVEL", "INFO");
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_get_visible_nc_count(&visible), NRT_SUCCESS);
  EXPECT_EQ(visible, 1u);
  nrt_close();
}

TEST_F(Lifecycle, givenVisibleCoresWhenOpenedThenTheyAreTheProcesssAndCountFromZero) {
  const Env env("NEURON_RT_VISIBLE_CORES", "1-2");
  std::uint32_t visible = 0;
  EXPECT_EQ(nrt_get_visible_nc_count(&visible), NRT_SUCCESS);
  EXPECT_EQ(visible, 2u) << "before nrt_init";
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  EXPECT_EQ(nrt_get_visible_nc_count(&visible), NRT_SUCCESS);
  EXPECT_EQ(visible, 2u);
  nrt_tensor_t* tensor = nullptr;
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 1, 64, "x", &tensor), NRT_SUCCESS);
  nrt_tensor_free(&tensor);
  EXPECT_EQ(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 2, 64, "x", &tensor), NRT_INVALID);
  EXPECT_TRUE(has_logged("Visible cores: 1, 2"));
  nrt_close();
}

TEST_F(Lifecycle, givenNumCoresWhenOpenedThenThatManyAreTheProcesss) {
  const Env env("NEURON_RT_NUM_CORES", "3");
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS) << logged();
  std::uint32_t visible = 0;
  EXPECT_EQ(nrt_get_visible_nc_count(&visible), NRT_SUCCESS);
  EXPECT_EQ(visible, 3u);
  nrt_close();
}

TEST_F(Lifecycle, givenMoreCoresThanThereAreWhenOpenedThenTheDocumentedLineSaysSo) {
  std::uint32_t total = 0;
  ASSERT_EQ(nrt_get_total_nc_count(&total), NRT_SUCCESS);
  const Env env("NEURON_RT_NUM_CORES", std::to_string(total + 1));
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_RESOURCE);
  EXPECT_TRUE(
      has_logged("ERROR   NRT:nrt_allocate_neuron_cores               NeuronCore(s) not available - Requested:" +
                 std::to_string(total + 1) + " Available:" + std::to_string(total)))
      << logged();
}

TEST_F(Lifecycle, givenVisibleCoresBeyondTheMachineWhenOpenedThenTheyAreRefused) {
  std::uint32_t total = 0;
  ASSERT_EQ(nrt_get_total_nc_count(&total), NRT_SUCCESS);
  const Env env("NEURON_RT_VISIBLE_CORES", std::to_string(total));
  EXPECT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_INVALID);
  EXPECT_TRUE(has_logged("expected cores of this instance, nc0-nc" + std::to_string(total - 1))) << logged();
}

TEST_F(Lifecycle, givenABackendThatDoesNotExistWhenOpenedThenThereIsNoOtherInItsPlace) {
  const Env env("OPENNRT_BACKEND", "nothing-of-that-name");
  EXPECT_NE(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  EXPECT_TRUE(has_logged("nothing-of-that-name")) << logged();
}

TEST_F(Lifecycle, givenASupportRequestWhenOpenedThenTheInformationBlockIsInTheLog) {
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  for (const char* part : {"please include in any support request", "NRT version: OpenNRT",
                           "Driver version:", "Backend: ", "Instance: ", "Visible cores: 0"}) {
    EXPECT_TRUE(has_logged(part)) << part;
  }
  nrt_close();
}

TEST_F(Lifecycle, givenThreadsInsideWhenClosedThenEachCallEndsWithItsResultOrClosed) {
  ASSERT_EQ(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), NRT_SUCCESS);
  std::vector<std::thread> threads;
  std::vector<int> wrong(8, 0);
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([t, &wrong] {
      for (;;) {
        nrt_tensor_t* tensor = nullptr;
        const NRT_STATUS made = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 4096, "x", &tensor);
        if (made == NRT_CLOSED) return;
        if (made != NRT_SUCCESS) ++wrong[static_cast<std::size_t>(t)];
        std::vector<char> data(4096, 'x');
        const NRT_STATUS written = nrt_tensor_write(tensor, data.data(), 0, data.size());
        if (written != NRT_SUCCESS && written != NRT_CLOSED) ++wrong[static_cast<std::size_t>(t)];
        nrt_tensor_free(&tensor);
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  nrt_close();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(8, 0));
}

}  // namespace
}  // namespace conformance
