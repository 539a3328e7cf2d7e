// SPDX-License-Identifier: Apache-2.0
//
// The inputs of a failed inference as files (requirement G6): NEURON_RT_DBG_DUMP_INPUTS_ON_ERR, as
// aws-neuron-sdk neuron-runtime/nrt-troubleshoot.rst describes it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/neff/neff.h"
#include "core/umd/umd.h"

namespace opennrt {

/// When `outcome` is the status `wanted` (0: none is), makes input_dump_<random>_h_nn_<number> in the working directory, with
/// input0.bin, input1.bin … in the order of `inputs` and model_name.txt, and logs where. `inputs` are what the failed inference was
/// given; `tensors`, the model's, say how long each is. What cannot be written is logged; the result of the inference stays what it
/// was. Thread-safe.
void dump_inputs_on_error(std::uint32_t wanted, umd::Outcome outcome, const std::string& model_name,
                          std::span<const umd::Binding> inputs, std::span<const neff::TensorInfo> tensors);

}  // namespace opennrt
