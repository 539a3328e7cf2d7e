// SPDX-License-Identifier: Apache-2.0
//
// What ranks ask of each other, and the limits of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/common/error.h"

namespace opennrt::collectives {

using Bytes = std::vector<std::byte>;
using SharedBytes = std::shared_ptr<const Bytes>;

/// Far more than one machine has NeuronCores (64 on inf1.24xlarge).
inline constexpr std::uint32_t kMaxRanks = 1024;
/// What one rank may give to one operation. It passes through the host memory of the root.
inline constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;

/// Everything that nrt.h asks for is one of these: a reduce-scatter is a reduction of which a rank keeps its part.
enum class Kind : std::uint32_t {
  kBarrier,  ///< no data
  kGather,   ///< the data of all, in the order of the group
  kReduce    ///< element by element, in the order of the group
};

/// Operations of one lane meet in the order in which each rank calls them; lanes do not wait for each other.
enum class Lane : std::uint32_t {
  kCalls,  ///< functions that return when they are done
  kQueue   ///< the execution unit for collectives
};

struct Operation {
  Kind kind = Kind::kBarrier;
  Lane lane = Lane::kCalls;
  int dtype = 0;                     ///< kReduce: nrt_dtype_t
  int op = 0;                        ///< kReduce: nrt_op_type_t
  std::vector<std::uint32_t> group;  ///< ranks, each once; the same list at every rank
};

struct Request {
  enum class Type : std::uint32_t { kJoin, kOperation, kGiveUp };
  Type type = Type::kJoin;
  std::uint64_t id = 0;        ///< of the sender's requests; kGiveUp: of the one that is given up
  std::uint32_t rank = 0;      ///< kJoin, kOperation
  std::uint32_t count = 0;     ///< kJoin: of the world
  std::uint64_t world = 0;     ///< kOperation: what the answer to kJoin said
  std::uint32_t waited_s = 0;  ///< kGiveUp
  Operation operation;         ///< kOperation
  Bytes data;                  ///< kOperation
};

/// The answer to kJoin is the number of the world, 8 bytes, to kOperation the result; kGiveUp has none. Called once, from any
/// thread, with no lock held.
using Done = std::function<void(Result<SharedBytes>)>;

}  // namespace opennrt::collectives
