// SPDX-License-Identifier: Apache-2.0
//
// Compiles a model and runs it on the simulated chip through the user-mode driver.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/umd/umd.h"
#include "models/compiler.h"
#include "tests/support/umd_fixture.h"
#include "tests/unit/models/reference.h"

namespace opennrt::test {

class OnChip {
 public:
  static OnChip& instance() {
    static OnChip chip;
    return chip;
  }

  /// The outputs by name; an empty map after a failure, which is reported. Stages of a pipeline run one after another, each on
  /// its NeuronCore.
  std::map<std::string, std::vector<float>> run(const std::vector<std::byte>& file,
                                                const std::map<std::string, std::vector<float>>& inputs) {
    std::map<std::string, std::vector<float>> results;
    if (!device_) {
      ADD_FAILURE() << "the simulator did not open: " << problem_;
      return results;
    }
    auto parsed = neff::parse(file);
    if (!parsed) {
      ADD_FAILURE() << parsed.error().message;
      return results;
    }
    EXPECT_EQ(parsed->cpu_nodes.size(), 0u) << "pipeline_test.cc is where the CPU has its turn";
    std::vector<std::unique_ptr<umd::Program>> programs;
    for (const auto& subgraph : parsed->subgraphs) {
      auto program = umd::Program::load(device_, static_cast<std::uint32_t>(programs.size()), subgraph);
      if (!program) {
        ADD_FAILURE() << program.error().message;
        return results;
      }
      programs.push_back(std::move(*program));
    }
    std::map<std::string, std::vector<std::byte>> values;
    for (const auto& t : parsed->tensors) {
      if (t.kind != neff::TensorKind::kInput) continue;
      const auto bytes = std::as_bytes(std::span(inputs.at(t.name)));
      EXPECT_EQ(bytes.size(), t.bytes) << t.name;
      values[t.name].assign(bytes.begin(), bytes.end());
    }
    // Twice: the second one finds everything as the first one left it.
    std::map<std::string, std::vector<float>> first;
    for (int i = 0; i < 2; ++i) {
      device_ns_ = 0;
      for (std::size_t s = 0; s < programs.size(); ++s) {
        std::vector<umd::Binding> in, out;
        for (const auto& t : parsed->subgraphs[s].tensors) {
          const bool input = t.kind == neff::TensorKind::kInput;
          auto& data = values[t.name];
          if (!input) data.assign(t.bytes, std::byte{0xff});  // NaN
          EXPECT_EQ(data.size(), t.bytes) << t.name;
          (input ? in : out).push_back({t.name, nullptr, 0, data});
        }
        auto report = programs[s]->execute(in, out, 30'000'000'000);
        if (!report || report->outcome != umd::Outcome::kCompleted) {
          ADD_FAILURE() << (report ? report->message : report.error().message) << host_.logged();
          return {};
        }
        device_ns_ += report->device_ns;
      }
      for (const auto& t : parsed->tensors) {
        if (t.kind == neff::TensorKind::kInput) continue;
        auto& result = results[t.name];
        result.resize(t.bytes / sizeof(float));
        std::memcpy(result.data(), values.at(t.name).data(), t.bytes);
      }
      if (i == 0) first = results;
    }
    EXPECT_EQ(first, results) << "two inferences differ";
    return results;
  }
  std::uint64_t device_ns() const { return device_ns_; }

 private:
  OnChip() {
    auto backend = umd::Backend::open("sim", host_.backend_dir(), host_.host);
    if (!backend) {
      problem_ = backend.error().message;
      return;
    }
    auto device = umd::Device::open(*backend, 0);
    if (device)
      device_ = *device;
    else
      problem_ = device.error().message;
  }
  Host host_;
  std::shared_ptr<umd::Device> device_;
  std::string problem_;
  std::uint64_t device_ns_ = 0;
};

/// What the data type justifies: errors relative to the largest result, which for sums of many products is what rounding scales with.
/// bf16 has 8 significant bits: 2^-9 per rounding, of which a network has a few one after another.
inline double tolerance(compile::Options::AutoCast cast) {
  return cast == compile::Options::AutoCast::kNone ? 2e-5 : 3e-2;
}

inline std::map<std::string, std::vector<float>> random_inputs(const compile::onnx_model::Model& model, double low,
                                                               double high) {
  std::mt19937 random(7);
  std::map<std::string, std::vector<float>> inputs;
  for (const auto& i : model.inputs) {
    std::size_t n = 1;
    for (auto d : i.shape) n *= static_cast<std::size_t>(d);
    for (std::size_t k = 0; k < n; ++k)
      inputs[i.name].push_back(static_cast<float>(low + (high - low) * (static_cast<double>(random()) / 4294967295.0)));
  }
  return inputs;
}

/// Compiles, runs with random inputs and compares every output with the reference.
inline void expect_equals_reference(const std::vector<std::byte>& model, compile::Options::AutoCast cast,
                                    double low = -1, double high = 1, double loosen = 1,
                                    compile::Options options = {}) {
  auto imported = compile::onnx_model::import_model(model);
  ASSERT_TRUE(imported) << imported.error().message;
  options.auto_cast = cast;
  auto file = compile::compile_onnx(model, options);
  ASSERT_TRUE(file) << file.error().message;
  const auto inputs = random_inputs(*imported, low, high);
  std::map<std::string, Tensor> reference_inputs;
  for (const auto& i : imported->inputs)
    reference_inputs[i.name] = {i.shape, {inputs.at(i.name).begin(), inputs.at(i.name).end()}};
  const auto expected = evaluate(*imported, reference_inputs);
  const auto results = OnChip::instance().run(*file, inputs);
  for (const auto& o : imported->outputs) {
    ASSERT_TRUE(results.count(o.name)) << o.name;
    const auto& got = results.at(o.name);
    const auto& want = expected.at(o.name).data;
    ASSERT_EQ(got.size(), want.size());
    double scale = 1e-6;
    for (double v : want) scale = std::max(scale, std::abs(v));
    std::size_t wrong = 0;
    for (std::size_t k = 0; k < got.size(); ++k) {
      if (!(std::abs(got[k] - want[k]) <= tolerance(cast) * loosen * scale) && ++wrong <= 5)
        ADD_FAILURE() << o.name << "[" << k << "] is " << got[k] << ", expected " << want[k] << " (largest " << scale
                      << ")";
    }
    EXPECT_EQ(wrong, 0u) << "of " << got.size();
  }
}

}  // namespace opennrt::test
