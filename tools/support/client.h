// SPDX-License-Identifier: Apache-2.0
//
// The public C API of libnrt with owners instead of free functions: for the tools and the benchmarks, which know nothing of
// libnrt but its headers. Failures carry the name of the call and of its NRT_STATUS; libnrt's own log tells the details.
#pragma once

#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/common/error.h"

namespace opennrt::client {

/// Turns what a call returned into a value; `what` is the call and its subject, e.g. "nrt_load of digits.neff".
Status check(NRT_STATUS status, const std::string& what);

/// nrt_init … nrt_close. One at a time in a process.
class Session {
 public:
  static Result<Session> open();
  ~Session() { close(); }
  Session(Session&& other) noexcept : open_(std::exchange(other.open_, false)) {}
  Session& operator=(Session&&) = delete;
  void close();

 private:
  Session() = default;
  bool open_ = true;
};

struct TensorInfo {
  std::string name;
  bool input = false;
  nrt_dtype_t dtype = NRT_DTYPE_UNKNOWN;
  std::vector<std::uint64_t> shape;
  std::size_t bytes = 0;
};

/// A loaded model; unloaded with its owner. execute() may be called from any thread.
class Model {
 public:
  /// `core`: the process's own number of the NeuronCore, -1 lets the runtime choose.
  static Result<Model> load(std::span<const std::byte> neff, int core, const std::string& name);
  ~Model();
  Model(Model&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)),
        name_(std::move(other.name_)),
        tensors_(std::move(other.tensors_)) {}
  Model& operator=(Model&&) = delete;

  nrt_model_t* handle() const { return handle_; }
  const std::string& name() const { return name_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }

 private:
  Model() = default;
  nrt_model_t* handle_ = nullptr;
  std::string name_;
  std::vector<TensorInfo> tensors_;
};

class Tensor {
 public:
  static Result<Tensor> allocate(nrt_tensor_placement_t placement, int core, std::size_t bytes,
                                 const std::string& name);
  ~Tensor();
  Tensor(Tensor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Tensor& operator=(Tensor&&) = delete;

  nrt_tensor_t* handle() const { return handle_; }
  Status write(std::span<const std::byte> bytes);
  /// Fills `bytes` from the start of the tensor.
  Status read(std::span<std::byte> bytes) const;

 private:
  Tensor() = default;
  nrt_tensor_t* handle_ = nullptr;
};

/// Tensors for every input and output of a model, in their two sets: what one submitting thread needs.
class Binding {
 public:
  /// `placement` VIRTUAL is what applications on Inf1 use; DEVICE tensors are made on `core`. Inputs are zero.
  static Result<Binding> make(const Model& model, nrt_tensor_placement_t placement, int core);
  ~Binding();
  Binding(Binding&& other) noexcept
      : inputs_(std::exchange(other.inputs_, nullptr)),
        outputs_(std::exchange(other.outputs_, nullptr)),
        tensors_(std::move(other.tensors_)) {}
  Binding& operator=(Binding&&) = delete;

  const nrt_tensor_set_t* inputs() const { return inputs_; }
  nrt_tensor_set_t* outputs() { return outputs_; }
  /// The tensor bound to `model.tensors()[index]`.
  Tensor& tensor(std::size_t index) { return tensors_[index]; }

 private:
  Binding() = default;
  nrt_tensor_set_t* inputs_ = nullptr;
  nrt_tensor_set_t* outputs_ = nullptr;
  std::vector<Tensor> tensors_;
};

}  // namespace opennrt::client
