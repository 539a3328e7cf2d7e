// SPDX-License-Identifier: Apache-2.0
//
// ONNX operators as their specification states them, in double precision and plain loops. Shares nothing with the compiler's
// graph, passes and lowering, nor with the simulator's arithmetic.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/onnx/model.h"

namespace opennrt::test {

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<double> data;
};

/// All values of the model by name. Throws std::runtime_error for an operator that is not here: the test is wrong then.
std::map<std::string, Tensor> evaluate(const compile::onnx_model::Model& model,
                                       const std::map<std::string, Tensor>& inputs);

}  // namespace opennrt::test
