// SPDX-License-Identifier: Apache-2.0
// Requirement G6: NEURON_RT_DBG_DUMP_INPUTS_ON_ERR leaves the inputs of a failed execution in the working directory.
#include <fnmatch.h>

#include <cstring>
#include <limits>

#include "tests/conformance/fixture.h"

namespace conformance {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kCount = 4 * 16;  // of copy_neff() and add_neff()
constexpr const char* kVariable = "NEURON_RT_DBG_DUMP_INPUTS_ON_ERR";

/// The tests run in an empty folder, which goes with them.
class InputDump : public Open {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    std::string name = fs::temp_directory_path() / "opennrt-dump-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::current_path(folder_);
    Open::SetUp();
  }
  void TearDown() override {
    Open::TearDown();
    fs::current_path(before_);
    fs::remove_all(folder_);
  }

  std::vector<fs::path> dumps() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path());
    return found;
  }

  static std::set<std::string> files_of(const fs::path& dump) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(dump)) names.insert(entry.path().filename());
    return names;
  }

  static std::string content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  template <typename T>
  static std::string bytes_of(const std::vector<T>& data) {
    return {reinterpret_cast<const char*>(data.data()), data.size() * sizeof(T)};
  }

  /// One execution of a model that never ends.
  void hang(const std::vector<float>& data, nrt_tensor_placement_t placement) {
    const Env limit("NEURON_RT_EXEC_TIMEOUT", "1");
    nrt_model_t* model = load(hang_neff());
    Set in, out;
    in.add("in", placement, data);
    out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
    EXPECT_EQ(nrt_execute(model, in.get(), out.get()), NRT_TIMEOUT) << logged();
    EXPECT_EQ(nrt_unload(model), NRT_SUCCESS);
  }

  fs::path folder_;

 private:
  fs::path before_;
};

TEST_F(InputDump, givenANanWhenItsStatusIsTheOneThenTheFilesAreWhatWasSent) {
  const Env env(kVariable, std::to_string(NRT_EXEC_COMPLETED_WITH_NUM_ERR));
  nrt_model_t* model = load(add_neff());
  auto a = numbers(kCount, 1), b = numbers(kCount, 2);
  a[7] = std::numeric_limits<float>::infinity();
  b[7] = -a[7];
  Set in, out;
  in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, a);
  in.add("b", NRT_TENSOR_PLACEMENT_DEVICE, b);
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(kCount));
  ASSERT_EQ(nrt_execute(model, in.get(), out.get()), NRT_EXEC_COMPLETED_WITH_NUM_ERR) << logged();
  ASSERT_EQ(dumps().size(), 1u);
  const fs::path dump = dumps().front();
  EXPECT_EQ(fnmatch("input_dump_[0-9]*_h_nn_[0-9]*", dump.filename().c_str(), 0), 0) << dump;
  EXPECT_EQ(files_of(dump), (std::set<std::string>{"input0.bin", "input1.bin", "model_name.txt"}));
  EXPECT_EQ(content(dump / "input0.bin"), bytes_of(a));
  EXPECT_EQ(content(dump / "input1.bin"), bytes_of(b));
  EXPECT_NE(content(dump / "model_name.txt"), "");
  EXPECT_TRUE(has_logged(
      "ERROR  TDRV:tensor_dump_inputs                      2 input tensors were dumped successfully to directory " +
      dump.string() + ". Model name is " + content(dump / "model_name.txt")))
      << logged();
}

TEST_F(InputDump, givenTimeoutsWhenTheirStatusIsTheOneThenEachHasAFolderOfItsOwn) {
  const Env env(kVariable, std::to_string(NRT_TIMEOUT));
  const auto first = numbers(kCount, 3), second = numbers(kCount, 4);
  hang(first, NRT_TENSOR_PLACEMENT_VIRTUAL);
  hang(second, NRT_TENSOR_PLACEMENT_DEVICE);
  ASSERT_EQ(dumps().size(), 2u);
  std::set<std::string> found;
  for (const fs::path& dump : dumps()) {
    EXPECT_EQ(files_of(dump), (std::set<std::string>{"input0.bin", "model_name.txt"}));
    found.insert(content(dump / "input0.bin"));
  }
  EXPECT_EQ(found, (std::set<std::string>{bytes_of(first), bytes_of(second)}));
}

TEST_F(InputDump, givenAnotherStatusOrNoneWhenAnExecutionFailsThenNothingIsWritten) {
  hang(numbers(kCount), NRT_TENSOR_PLACEMENT_VIRTUAL);
  for (const char* other : {"0", "1003", "1006"}) {
    const Env env(kVariable, other);
    hang(numbers(kCount), NRT_TENSOR_PLACEMENT_VIRTUAL);
  }
  EXPECT_TRUE(dumps().empty());
}

TEST_F(InputDump, givenAFolderThatCannotBeMadeWhenAnExecutionFailsThenThatIsLoggedAndTheStatusStays) {
  const Env env(kVariable, std::to_string(NRT_TIMEOUT));
  fs::remove(folder_);  // the working directory is gone
  hang(numbers(kCount), NRT_TENSOR_PLACEMENT_VIRTUAL);
  EXPECT_TRUE(has_logged("TDRV:tensor_dump_inputs                      input tensors of model ")) << logged();
  EXPECT_TRUE(has_logged("cannot be made in the working directory")) << logged();
}

TEST_F(InputDump, givenAValueThatIsNoStatusWhenAModelIsLoadedThenItIsRefusedByNameAndValue) {
  const Env env(kVariable, "oob");
  const Bytes neff = copy_neff();
  nrt_model_t* model = nullptr;
  EXPECT_EQ(nrt_load(neff.data(), neff.size(), -1, -1, &model), NRT_INVALID);
  EXPECT_TRUE(has_logged("NEURON_RT_DBG_DUMP_INPUTS_ON_ERR is \"oob\", expected an integer from 0 to 2147483647"))
      << logged();
}

}  // namespace
}  // namespace conformance
