// SPDX-License-Identifier: Apache-2.0
//
// Names that a rule's `where` can have, so that a misspelt one is refused and does not wait for ever.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace opennrt::faults {

std::span<const std::string_view> engines();     ///< pe, act, pool, dma0 … dma11
std::span<const std::string_view> operations();  ///< of opennrt/backend.h, open and close included
std::span<const std::string_view> functions();   ///< of the C API (core/api/functions.inc)

/// Of a function of the C API: what a rule can say about it.
bool returns_status(std::string_view function);
bool names_tensor(std::string_view function);  ///< `where.tensor` may match its calls
bool names_model(std::string_view function);   ///< `where.model` may

/// The one of `names` that needs the fewest changes to become `name`; empty when none is near.
std::string_view nearest(std::string_view name, std::span<const std::string_view> names);

}  // namespace opennrt::faults
