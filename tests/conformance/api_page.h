// SPDX-License-Identifier: Apache-2.0
//
// docs/api.md: every function with its header, version node, state, requirements, and a test for each side, as a whole run of the
// suite has found them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/conformance/coverage.h"

namespace conformance {

/// The page. `before` is the one that is there: a test that it names stays while the run still confirms it, so that only real changes
/// show. `headers` is the folder of the public headers (core/include).
std::string api_page(const std::vector<Coverage>& found, const std::map<std::string, Expectation>& expected,
                     const std::string& headers, const std::string& before);

}  // namespace conformance
