// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>

#include "tools/opennrt/commands.h"
#include "tools/opennrt/device_time.h"
#include "tools/support/array.h"
#include "tools/support/client.h"
#include "tools/support/files.h"
#include "tools/support/sim_stats.h"

namespace opennrt::tool {
namespace {

using client::TensorInfo;

std::string names(const client::Model& model, bool input) {
  std::vector<std::string> list;
  for (const TensorInfo& info : model.tensors())
    if (info.input == input) list.push_back(info.name);
  return fmt::format("{}", fmt::join(list, ", "));
}

/// name=file.npy, … → arrays by name. Files are read before a device is touched.
Result<std::map<std::string, neff::NpyArray>> read_inputs(const std::vector<std::string>& arguments) {
  std::map<std::string, neff::NpyArray> arrays;
  for (const std::string& argument : arguments) {
    const std::size_t equals = argument.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == argument.size())
      return make_error(ErrorCode::kInvalidArgument, "--input is '{}', expected NAME=FILE.npy", argument);
    const std::string name = argument.substr(0, equals);
    auto array = client::read_array(argument.substr(equals + 1));
    if (!array) return with_context(array.error(), "input " + name);
    if (!arrays.emplace(name, std::move(*array)).second)
      return make_error(ErrorCode::kInvalidArgument, "input {} is given twice", name);
  }
  return arrays;
}

Status check_input(const TensorInfo& info, const neff::NpyArray& array) {
  const std::string dtype = client::dtype_name(info.dtype);
  if (array.dtype != dtype || array.shape != info.shape)
    return make_error(ErrorCode::kInvalidArgument, "input {}: got {} {}, expected {} {}", info.name, array.dtype,
                      client::shape_text(array.shape), dtype, client::shape_text(info.shape));
  if (array.data.size() != info.bytes)
    return make_error(ErrorCode::kInvalidArgument, "input {}: got {} bytes, expected {}", info.name, array.data.size(),
                      info.bytes);
  return {};
}

/// Every array belongs to an input and fits it; every input has one, unless `zero_inputs`.
Status check_inputs(const client::Model& model, const std::map<std::string, neff::NpyArray>& arrays, bool zero_inputs) {
  std::size_t used = 0;
  for (const TensorInfo& info : model.tensors()) {
    if (!info.input) continue;
    const auto array = arrays.find(info.name);
    if (array == arrays.end()) {
      if (zero_inputs) continue;
      return make_error(ErrorCode::kInvalidArgument,
                        "input {} ({} {}) is not given: add --input {}=FILE.npy, or --zero-inputs", info.name,
                        client::dtype_name(info.dtype), client::shape_text(info.shape), info.name);
    }
    if (auto status = check_input(info, array->second); !status) return status;
    ++used;
  }
  if (used == arrays.size()) return {};
  for (const auto& [name, array] : arrays) {
    const auto same = [&name = name](const TensorInfo& info) { return info.input && info.name == name; };
    if (std::none_of(model.tensors().begin(), model.tensors().end(), same))
      return make_error(ErrorCode::kInvalidArgument, "the model has no input '{}', it has: {}", name,
                        names(model, true));
  }
  return make_error(ErrorCode::kInternal, "inputs of {} do not have distinct names", model.name());
}

/// A tensor's name as the name of a file in one folder: nothing but letters, digits, '.', '_' and '-'; never hidden.
std::string file_name(const std::string& tensor) {
  std::string name = tensor;
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!plain) c = '_';
  }
  if (name.empty() || name[0] == '.') name = '_' + name;
  return name + ".npy";
}

Status write_output(const TensorInfo& info, const client::Tensor& tensor, const std::filesystem::path& folder) {
  neff::NpyArray array{client::dtype_name(info.dtype), info.shape, std::vector<std::byte>(info.bytes)};
  if (auto status = tensor.read(array.data); !status) return with_context(status.error(), "output " + info.name);
  const std::filesystem::path path = folder / file_name(info.name);
  if (auto status = client::write_array(path, array); !status) return status;
  fmt::print("{} {} {} -> {}\n", info.name, client::dtype_name(info.dtype), client::shape_text(info.shape),
             path.string());
  return {};
}

/// `device_time`: nullptr, or what begins with the first execution and ends with the last.
Status run_model(const RunOptions& options, DeviceTime* device_time, std::optional<std::uint64_t>& device_ns) {
  const auto arrays = read_inputs(options.inputs);
  if (!arrays) return tl::unexpected<Error>(arrays.error());
  const auto neff = client::read_file(options.model);
  if (!neff) return tl::unexpected<Error>(neff.error());

  auto session = client::Session::open();
  if (!session) return tl::unexpected<Error>(session.error());
  auto model = client::Model::load(*neff, options.core, options.model);
  if (!model) return tl::unexpected<Error>(model.error());
  if (auto status = check_inputs(*model, *arrays, options.zero_inputs); !status) return status;
  auto binding = client::Binding::make(*model, NRT_TENSOR_PLACEMENT_VIRTUAL, -1);
  if (!binding) return tl::unexpected<Error>(binding.error());
  const std::vector<TensorInfo>& tensors = model->tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (const auto array = arrays->find(tensors[i].name); tensors[i].input && array != arrays->end())
      if (auto status = binding->tensor(i).write(array->second.data); !status)
        return with_context(status.error(), "input " + tensors[i].name);

  if (device_time != nullptr)
    if (auto begun = device_time->begin(); !begun) return begun;
  const auto begin = std::chrono::steady_clock::now();
  const NRT_STATUS executed =
      options.repeat == 1 ? nrt_execute(model->handle(), binding->inputs(), binding->outputs())
                          : nrt_execute_repeat(model->handle(), binding->inputs(), binding->outputs(), options.repeat);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  if (device_time != nullptr) {
    const auto ended = device_time->end();
    if (!ended) return tl::unexpected<Error>(ended.error());
    device_ns = *ended;
  }
  // A NaN in the outputs is a failure that still has outputs (NRT_EXEC_COMPLETED_WITH_NUM_ERR): they are written, too.
  const Status outcome = client::check(executed, "executing " + options.model);
  if (!outcome && executed != NRT_EXEC_COMPLETED_WITH_NUM_ERR) return outcome;

  if (!options.output_dir.empty()) {
    if (auto status = client::make_folder(options.output_dir); !status) return status;
    std::map<std::string, std::string> written;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].input) continue;
      const auto [other, fresh] = written.emplace(file_name(tensors[i].name), tensors[i].name);
      if (!fresh)
        return make_error(ErrorCode::kUnsupported, "outputs {} and {} would both be written to {}", other->second,
                          tensors[i].name, other->first);
      if (auto status = write_output(tensors[i], binding->tensor(i), options.output_dir); !status) return status;
    }
  }
  fmt::print("{} execution{} in {:.3f} ms of wall time\n", options.repeat, options.repeat == 1 ? "" : "s",
             took.count());
  return outcome;
}

}  // namespace

Status run(const RunOptions& options) {
  std::optional<std::uint64_t> device_ns;
  if (!options.stats) return run_model(options, nullptr, device_ns);
  const client::SummaryRequest summary;  // before the runtime is initialised, read after it has closed
  DeviceTime device_time;
  const Status outcome = run_model(options, &device_time, device_ns);
  const auto stats = summary.read();
  if (!stats) return outcome ? tl::unexpected<Error>(stats.error()) : outcome;
  if (stats->has_value())
    print_stats(**stats, static_cast<std::uint64_t>(options.repeat));
  else if (device_ns)
    fmt::print(
        "simulated time {:.3f} us per execution, from the first doorbell to the last notification; what the engines "
        "did "
        "is in the summary of `OPENNRT_SIM_STATS=FILE opennrt emulate`\n",
        static_cast<double>(*device_ns) * 1e-3 / options.repeat);
  else if (outcome)
    fmt::print("no statistics: the backend is not the simulator\n");
  return outcome;
}

}  // namespace opennrt::tool
