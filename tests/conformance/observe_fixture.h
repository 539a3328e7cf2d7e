// SPDX-License-Identifier: Apache-2.0
//
// What the tests of traces and profiles share.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/conformance/fixture.h"

namespace conformance {

using Json = nlohmann::json;

/// A folder for the life of the object.
class Folder {
 public:
  Folder() {
    std::string path = std::filesystem::temp_directory_path() / "opennrt-observe-XXXXXX";
    if (mkdtemp(path.data()) != nullptr) path_ = path;
  }
  ~Folder() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  /// Every file below it, by name.
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_))
      if (entry.is_regular_file()) found[entry.path().filename()] = entry.path();
    return found;
  }

 private:
  std::string path_;
};

inline Json read_json(const std::string& path) {
  std::ifstream file(path);
  return Json::parse(file, nullptr, false);
}

/// The complete events of a Chrome trace with this category.
inline std::vector<Json> spans(const Json& trace, const std::string& category) {
  std::vector<Json> found;
  for (const Json& event : trace.at("traceEvents"))
    if (event.at("ph") == "X" && event.at("cat") == category) found.push_back(event);
  return found;
}

/// The members of `all` whose "name" it is.
inline std::vector<Json> named(const std::vector<Json>& all, const std::string& name) {
  std::vector<Json> found;
  for (const Json& event : all)
    if (event.at("name") == name) found.push_back(event);
  return found;
}

/// Runs add_neff() `times` times; its statuses.
inline NRT_STATUS run_add(nrt_model_t* model, int times = 1) {
  Set in, out;
  in.add("a", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(64, 1));
  in.add("b", NRT_TENSOR_PLACEMENT_VIRTUAL, numbers(64, 2));
  out.add("out", NRT_TENSOR_PLACEMENT_VIRTUAL, std::vector<float>(64));
  for (int i = 0; i < times; ++i)
    if (const NRT_STATUS status = nrt_execute(model, in.get(), out.get()); status != NRT_SUCCESS) return status;
  return NRT_SUCCESS;
}

}  // namespace conformance
