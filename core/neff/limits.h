// SPDX-License-Identifier: Apache-2.0
//
// How much a NEFF may ask for before it is refused. Ours: large enough for every network that fits an Inf1 device (8 GiB of
// DRAM), small enough that a hostile file costs bounded time and memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace opennrt::neff {

inline constexpr std::size_t kHeaderBytes = 1024;    // work-with-neff-files.rst, "NEFF Header"
inline constexpr std::uint64_t kMaxEntries = 65536;  // files and folders of a payload
inline constexpr std::size_t kMaxPathBytes = 512;
inline constexpr std::uint64_t kMaxFileBytes = 4ull << 30;    // one file of the payload
inline constexpr std::uint64_t kMaxJsonBytes = 256ull << 20;  // one JSON file
inline constexpr std::uint64_t kMaxJsonValues = 16ull << 20;  // values of one JSON file
inline constexpr std::size_t kMaxJsonDepth = 32;
inline constexpr std::size_t kMaxSubgraphs = 64;   // tpb_per_node[64] of the header
inline constexpr std::size_t kMaxNodes = 65536;    // of neff.json, and what they put out together
inline constexpr std::size_t kMaxAttributes = 64;  // of one of them
inline constexpr std::size_t kMaxVariables = 1u << 20;
inline constexpr std::size_t kMaxQueues = 1024;
inline constexpr std::size_t kMaxDmaEntries = 4u << 20;         // per engine
inline constexpr std::uint64_t kMaxVariableBytes = 8ull << 30;  // the DRAM of a device (inferentia.rst)
inline constexpr std::uint64_t kMaxAlignment = 1ull << 30;
inline constexpr std::size_t kMaxNameBytes = 255;  // nrt.h: tensor names are char[256]
inline constexpr std::size_t kMaxShapeDims = 32;
inline constexpr std::size_t kMaxPatternDims = 4;  // work-with-neff-files.rst, "from_steps/to_steps"
inline constexpr std::size_t kMaxNpyHeaderBytes = 1u << 20;

}  // namespace opennrt::neff
