// SPDX-License-Identifier: Apache-2.0
// Requirements E1, E2, E4, E5: loading, describing and unloading models.
#include <cstring>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

using opennrt::test::NeffBuilder;
using opennrt::test::OrderedJson;

class Model : public Open {
 protected:
  std::size_t used(std::uint32_t vnc = 0) {
    nrt_vnc_memory_stats_t stats{};
    EXPECT_EQ(nrt_get_vnc_memory_stats(vnc, &stats, sizeof(stats), nullptr), NRT_SUCCESS);
    return stats.bytes_used;
  }
  void expect_refused(const Bytes& neff, NRT_STATUS status, const std::string& text) {
    nrt_model_t* model = nullptr;
    EXPECT_EQ(nrt_load(neff.data(), neff.size(), -1, -1, &model), status) << text;
    EXPECT_EQ(model, nullptr);
    EXPECT_TRUE(has_logged(text)) << text << "\n" << logged();
  }
};

TEST_F(Model, givenANeffWhenLoadedThenItIsDescribed) {
  nrt_model_t* model = load(add_neff(4, 16));
  ASSERT_NE(model, nullptr);
  nrt_tensor_info_array_t* info = nullptr;
  ASSERT_EQ(nrt_get_model_tensor_info(model, &info), NRT_SUCCESS);
  ASSERT_EQ(info->tensor_count, 3u);
  const char* names[] = {"a", "b", "out"};
  for (int i = 0; i < 3; ++i) {
    const nrt_tensor_info_t& tensor = info->tensor_array[i];
    EXPECT_STREQ(tensor.name, names[i]);
    EXPECT_EQ(tensor.usage, i < 2 ? NRT_TENSOR_USAGE_INPUT : NRT_TENSOR_USAGE_OUTPUT);
    EXPECT_EQ(tensor.size, 256u);
    EXPECT_EQ(tensor.dtype, NRT_DTYPE_FLOAT32);
    ASSERT_EQ(tensor.ndim, 2u);
    EXPECT_EQ(tensor.shape[0], 4u);
    EXPECT_EQ(tensor.shape[1], 16u);
  }
  std::uint32_t count = 0;
  EXPECT_EQ(nrt_get_model_nc_count(model, &count), NRT_SUCCESS);
  EXPECT_EQ(count, 1u);
  count = 0;
  EXPECT_EQ(nrt_get_model_vnc_count(model, &count), NRT_SUCCESS);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(nrt_get_model_instance_count(model, &count), NRT_SUCCESS);
  EXPECT_EQ(count, 1u);
  nrt_model_info_t model_info{99};
  std::size_t written = 0;
  EXPECT_EQ(nrt_get_model_info(model, &model_info, sizeof(model_info), &written), NRT_SUCCESS);
  EXPECT_EQ(model_info.vnc, 0u);
  EXPECT_EQ(written, sizeof(model_info));
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
  EXPECT_STREQ(info->tensor_array[2].name, "out") << "the description outlives the model";
  EXPECT_EQ(nrt_free_model_tensor_info(info), NRT_SUCCESS);
}

TEST_F(Model, givenADescriptionWhenFreedTwiceOrForeignThenItIsRefused) {
  nrt_model_t* model = load(copy_neff());
  nrt_tensor_info_array_t* info = nullptr;
  ASSERT_EQ(nrt_get_model_tensor_info(model, &info), NRT_SUCCESS);
  EXPECT_EQ(nrt_free_model_tensor_info(info), NRT_SUCCESS);
  EXPECT_EQ(nrt_free_model_tensor_info(info), NRT_INVALID_HANDLE);
  nrt_tensor_info_array_t other{};
  EXPECT_EQ(nrt_free_model_tensor_info(&other), NRT_INVALID_HANDLE);
  EXPECT_EQ(nrt_free_model_tensor_info(nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
}

TEST_F(Model, givenADescriptionWhenTheLibraryIsClosedThenItCanStillBeFreed) {
  nrt_model_t* model = load(copy_neff());
  nrt_tensor_info_array_t* info = nullptr;
  ASSERT_EQ(nrt_get_model_tensor_info(model, &info), NRT_SUCCESS);
  nrt_close();
  EXPECT_EQ(nrt_free_model_tensor_info(info), NRT_SUCCESS);
}

TEST_F(Model, givenWrongArgumentsWhenDescribedThenTheyAreRefused) {
  nrt_model_t* model = load(copy_neff());
  nrt_tensor_info_array_t* info = nullptr;
  nrt_model_info_t model_info{};
  std::uint32_t count = 0;
  EXPECT_EQ(nrt_get_model_tensor_info(model, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_model_nc_count(model, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_model_vnc_count(model, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_model_instance_count(model, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_model_info(model, nullptr, sizeof(model_info), nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_get_model_info(model, &model_info, 0, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
  int local = 0;
  for (nrt_model_t* bad : {model, reinterpret_cast<nrt_model_t*>(&local)}) {
    EXPECT_EQ(nrt_get_model_tensor_info(bad, &info), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_get_model_nc_count(bad, &count), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_get_model_vnc_count(bad, &count), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_get_model_instance_count(bad, &count), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_get_model_info(bad, &model_info, sizeof(model_info), nullptr), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_unload(bad), NRT_INVALID_HANDLE);
    EXPECT_EQ(nrt_execute(bad, nullptr, nullptr), NRT_INVALID_HANDLE);
  }
  EXPECT_EQ(nrt_unload(nullptr), NRT_INVALID);
}

TEST_F(Model, givenWrongArgumentsWhenLoadedThenTheyAreRefused) {
  const Bytes neff = copy_neff();
  std::uint32_t cores = 0;
  ASSERT_EQ(nrt_get_visible_nc_count(&cores), NRT_SUCCESS);
  nrt_model_t* model = nullptr;
  EXPECT_EQ(nrt_load(nullptr, 8, -1, -1, &model), NRT_INVALID);
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), -1, -1, nullptr), NRT_INVALID);
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), static_cast<int>(cores), -1, &model), NRT_INVALID);
  EXPECT_TRUE(has_logged("vnc is " + std::to_string(cores) + ", expected -1 or a NeuronCore of this process"))
      << logged();
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), -2, -1, &model), NRT_INVALID);
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), 0, 0, &model), NRT_INVALID);
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), 0, -2, &model), NRT_INVALID);
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), -1, static_cast<int>(cores) + 1, &model), NRT_LOAD_NOT_ENOUGH_NC);
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), 1, static_cast<int>(cores), &model), NRT_LOAD_NOT_ENOUGH_NC);
  EXPECT_EQ(model, nullptr);
}

TEST_F(Model, givenAMalformedModelVariableWhenLoadedThenItIsRefusedByName) {
  const Bytes neff = copy_neff();
  const Env env("NEURON_RT_EXEC_TIMEOUT", "soon");
  expect_refused(neff, NRT_INVALID, "NEURON_RT_EXEC_TIMEOUT is \"soon\"");
}

TEST_F(Model, givenBrokenFilesWhenLoadedThenTheyAreRefusedAndNothingStays) {
  const std::size_t before = used();
  const Bytes good = copy_neff();
  expect_refused(Bytes(10), NRT_INVALID, "nrt_load");
  expect_refused(Bytes(5000), NRT_INVALID, "nrt_load");
  for (const std::size_t keep :
       {std::size_t{0}, std::size_t{1}, std::size_t{1023}, std::size_t{1024}, std::size_t{1100}, good.size() - 1}) {
    nrt_model_t* model = nullptr;
    EXPECT_EQ(nrt_load(good.data(), keep, -1, -1, &model), NRT_INVALID) << keep;
  }
  EXPECT_EQ(used(), before);
  EXPECT_EQ(nrt_unload(load(good)), NRT_SUCCESS);
}

TEST_F(Model, givenANewerNeffWhenLoadedThenTheVersionMismatchIsTheDocumentedOne) {
  NeffBuilder builder = NeffBuilder::of(opennrt::test::copy_program(4, 16).graph);
  builder.header.major = 2;
  builder.header.minor = 0;
  expect_refused(builder.build(), NRT_UNSUPPORTED_NEFF_VERSION, "NEFF version mismatch supported: 1.1 received: 2.0");
}

TEST_F(Model, givenANeffForAnotherTargetWhenLoadedThenBothTargetsAreNamed) {
  NeffBuilder builder = NeffBuilder::of(opennrt::test::copy_program(4, 16).graph);
  builder.edit("kelf-0.json", [](OrderedJson& json) { json["target"] = "somebody-elses"; });
  expect_refused(builder.build(), NRT_INVALID, "somebody-elses");
  EXPECT_TRUE(has_logged("Unsupported hardware operator")) << logged();
  EXPECT_TRUE(has_logged("opennrt-1"));
}

TEST_F(Model, givenAWrongHashWhenValidationIsAskedForThenItIsRefusedAndElseIgnored) {
  NeffBuilder builder = NeffBuilder::of(opennrt::test::copy_program(4, 16).graph);
  Bytes neff = builder.build();
  constexpr std::size_t kHashOffset = 172;  // of the header's hash field
  neff[kHashOffset] ^= std::byte{1};
  EXPECT_EQ(nrt_unload(load(neff)), NRT_SUCCESS);
  const Env env("NEURON_RT_VALIDATE_HASH", "true");
  expect_refused(neff, NRT_INVALID, "hash");
  neff[kHashOffset] ^= std::byte{1};
  EXPECT_EQ(nrt_unload(load(neff)), NRT_SUCCESS);
}

TEST_F(Model, givenAnInstructionThatIsNoneWhenLoadedThenItIsTheDocumentedOperatorError) {
  auto program = opennrt::test::copy_program(4, 16);
  Bytes& stream = program.engine(opennrt::isa::Engine::kPe).instructions;
  Bytes foreign(64);
  foreign[0] = std::byte{214};
  stream.insert(stream.begin(), foreign.begin(), foreign.end());
  const std::size_t before = used();
  expect_refused(neff_of(program), NRT_INVALID, "Unsupported hardware operator code 214 found in neff.");
  EXPECT_EQ(used(), before);
}

TEST_F(Model, givenAModelWhenUnloadedThenItsMemoryIsBack) {
  // What cores keep between models (notification queues) is there after the first one.
  EXPECT_EQ(nrt_unload(load(copy_neff(), 0)), NRT_SUCCESS);
  const std::size_t before = used();
  nrt_model_t* model = load(copy_neff(), 0);
  EXPECT_GT(used(), before);
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
  EXPECT_EQ(used(), before);
  EXPECT_EQ(nrt_unload(model), NRT_INVALID_HANDLE);
}

TEST_F(Model, givenSeveralModelsWhenTheCoreIsLeftToTheLibraryThenTheLeastLoadedIsTaken) {
  std::uint32_t cores = 0;
  ASSERT_EQ(nrt_get_visible_nc_count(&cores), NRT_SUCCESS);
  std::vector<nrt_model_t*> models;
  std::map<std::uint32_t, int> on;
  for (std::uint32_t i = 0; i < 2 * cores; ++i) {
    models.push_back(load(copy_neff()));
    nrt_model_info_t info{};
    EXPECT_EQ(nrt_get_model_info(models.back(), &info, sizeof(info), nullptr), NRT_SUCCESS);
    ++on[info.vnc];
  }
  EXPECT_EQ(on.size(), cores);
  for (const auto& [vnc, count] : on) EXPECT_EQ(count, 2) << "nc" << vnc;
  EXPECT_EQ(nrt_unload(models[1]), NRT_SUCCESS);
  nrt_model_t* next = load(copy_neff());
  nrt_model_info_t info{};
  EXPECT_EQ(nrt_get_model_info(next, &info, sizeof(info), nullptr), NRT_SUCCESS);
  EXPECT_EQ(info.vnc, 1u);
}

TEST_F(Model, givenReplicasWhenLoadedThenTheCountSaysHowMany) {
  nrt_model_t* model = load(copy_neff(), 1, 3);
  std::uint32_t count = 0;
  EXPECT_EQ(nrt_get_model_instance_count(model, &count), NRT_SUCCESS);
  EXPECT_EQ(count, 3u);
  nrt_model_info_t info{};
  EXPECT_EQ(nrt_get_model_info(model, &info, sizeof(info), nullptr), NRT_SUCCESS);
  EXPECT_EQ(info.vnc, 1u);
  EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
}

}  // namespace
}  // namespace conformance
