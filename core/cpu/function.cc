// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/function.h"

#include <array>

#include "core/cpu/attributes.h"

namespace opennrt::cpu {
namespace {

struct Known {
  std::string_view name;
  std::unique_ptr<Function> (*make)(Checker&);
};
constexpr std::array kFunctions{Known{"opennrt.argmax", make_argmax}, Known{"opennrt.cast", make_cast},
                                Known{"opennrt.gather", make_gather}, Known{"opennrt.topk", make_topk}};

}  // namespace

Result<std::unique_ptr<Function>> make(const neff::CpuNode& node, std::span<const neff::TensorInfo> inputs) {
  Checker checker(node, inputs);
  std::string names;
  for (const Known& known : kFunctions) {
    names += (names.empty() ? "" : ", ") + std::string(known.name);
    if (known.name != node.function) continue;
    auto function = known.make(checker);
    if (!checker.ok()) return tl::unexpected(checker.status().error());
    return function;
  }
  checker.fail(ErrorCode::kUnsupported, "there is no such function, expected one of {}", names);
  return tl::unexpected(checker.status().error());
}

}  // namespace opennrt::cpu
