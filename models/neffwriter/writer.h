// SPDX-License-Identifier: Apache-2.0
//
// A compiled model as a NEFF file, in the profile of core/neff/README.md.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/neff/neff.h"

namespace opennrt::compile {

/// The file's bytes, with a header made for them; `neff.header` is not looked at. Subgraphs are "sg00", "sg01", … and neighbours
/// among the steps share a kelf. Deterministic: order, times and owners of the archive's members are fixed, the uuid follows from the contents.
/// kInternal when the archive cannot be written (memory).
Result<std::vector<std::byte>> write_neff(const neff::Neff& neff, const std::string& name);

}  // namespace opennrt::compile
