// SPDX-License-Identifier: Apache-2.0
//
// Reductions on the host: Inf1 has no engine for them.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "core/collectives/operation.h"

namespace opennrt::collectives {

/// Bytes of an element of an nrt_dtype_t; 0: there is no such type.
std::size_t element_bytes(int dtype);

/// kInvalidArgument names what cannot be reduced: NRT_OP_FMA, 8-bit floats, FP32R, numbers that are no enumerator.
Status check_reduction(int dtype, int op);

/// Element by element from the first input to the last, all of the same size, a multiple of the element's (else kInvalidArgument).
/// Integers wrap modulo 2^n. fp16 and bf16 are added in single precision and rounded once, to nearest even. MAX and MIN of a NaN
/// and anything are NaN.
Result<Bytes> reduce(std::vector<Bytes> inputs, int dtype, int op);

}  // namespace opennrt::collectives
