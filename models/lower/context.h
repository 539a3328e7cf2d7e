// SPDX-License-Identifier: Apache-2.0
//
// What the lowering of one operator works with: where values are, constants, scratch memory, and the recorder.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "models/graph/graph.h"
#include "models/lower/arena.h"
#include "models/lower/recorder.h"

namespace opennrt::compile::lower {

using graph::Dims;
using graph::ValueId;
using isa::DataType;
using isa::Engine;

inline constexpr std::int64_t kPartitions = 128;
inline std::int64_t tiles(std::int64_t channels) {
  return (channels + kPartitions - 1) / kPartitions;
}
/// Channels of channel tile `t`.
inline std::uint8_t tile_channels(std::int64_t channels, std::int64_t t) {
  const std::int64_t rest = channels - t * kPartitions;
  return static_cast<std::uint8_t>(rest < kPartitions ? rest : kPartitions);
}

/// A tensor in SBUF, or the part of it that rows [h0, …) of images [n0, …) and channel tiles [t0, …) are: channel c is on partition
/// c mod 128. Steps are in elements; a step of 0 repeats (broadcast).
struct View {
  DataType dtype = DataType::kFp32;
  std::uint32_t offset = 0;
  std::int64_t t0 = 0, n0 = 0, h0 = 0;
  std::int64_t t_step = 0, n_step = 0, h_step = 0, w_step = 1;
};

/// Where a value is. Both places may hold it.
struct Storage {
  Dims dims;
  DataType dtype = DataType::kFp32;
  std::shared_ptr<Arena::Buffer> sbuf;
  int dram = -1;  ///< variable that holds (or will hold) it in row-major N, C, H, W order
  std::int64_t element_bytes() const { return static_cast<std::int64_t>(isa::data_type_bytes(dtype)); }
  std::int64_t partition_bytes() const { return tiles(dims.c) * dims.n * dims.h * dims.w * element_bytes(); }
};

/// A part of a tensor: rows of images.
struct Box {
  std::int64_t n0 = 0, nn = 1, h0 = 0, nh = 1;
};
/// Cuts a tensor into boxes of at most `elements` (at least one row), whole images where possible.
std::vector<Box> boxes(const Dims& dims, std::int64_t elements);

struct Context {
  Context(const graph::Graph& g, const Options& o, std::uint32_t columns, std::uint32_t ring);

  const graph::Graph& graph;
  const Options& options;
  Recorder recorder;
  neff::Subgraph subgraph;
  std::vector<int> uses;  ///< readers that are still to come
  Report report;

  // Layout of a partition: constant columns, weight slots, then the arena.
  std::uint32_t column_capacity, ring_begin, ring_bytes;
  std::uint32_t ring_next = 0;  ///< where the next weights go
  std::size_t weight_fetches = 0;
  Arena arena;
  std::uint32_t resident_limit;  ///< tensors stay below: what is above is for scratch
  std::vector<float> columns;    ///< column-major, 128 each
  std::uint32_t psum_next = 0;   ///< next PSUM bank
  std::vector<Storage> storage;  ///< by ValueId; after the arena, to which it gives back

  Storage& at(ValueId id) { return storage[static_cast<std::size_t>(id)]; }
  const graph::Value& value(ValueId id) const { return graph.values[static_cast<std::size_t>(id)]; }
  bool failed() const { return recorder.failed(); }
  void fail(ErrorCode code, const graph::Node& node, const std::string& text);

  /// A column of one float per partition, loaded before everything else; returns its SBUF offset. At most 128 values.
  std::uint32_t add_column(const float* values, std::size_t count);
  isa::Operand column(std::uint32_t offset) const;
  int add_variable(neff::VariableType type, std::string name, std::uint64_t bytes);
  int add_file(std::string name, std::vector<std::byte> data);
  std::uint32_t next_bank() {
    return psum_next++ % (options.limits.psum_bytes_per_partition / options.limits.psum_bank_bytes);
  }

  // ---- storage.cc: placing values ----
  /// Makes sure that a constant has its variable.
  void prepare_constant(ValueId id);
  /// Loads a value into SBUF for good when there is room. Returns whether it is in SBUF.
  bool try_resident(ValueId id);
  /// The same; an error that names `node` when there is no room.
  bool need_resident(ValueId id, const graph::Node& node);
  /// Gives `out` a place: that of one of `replaces` when this is its last use and it fits exactly, SBUF, or DRAM.
  void place_output(ValueId out, std::initializer_list<ValueId> replaces = {});
  /// Row-major copy in DRAM, written now when there is none. `into`: variable to use.
  int need_dram(ValueId id, int into = -1);
  int dram_for_output(ValueId id);            ///< the output's own variable, or a new temporary
  void write_back(ValueId id, int variable);  ///< SBUF → DRAM, whole
  View whole(ValueId id);                     ///< of a value in SBUF
  std::shared_ptr<Arena::Buffer> scratch(std::uint64_t bytes, const graph::Node& node);
  /// Bytes that each of `streams` double-buffered slots may have.
  std::int64_t slot_bytes(std::size_t streams) const;

  // ---- instructions ----
  isa::Operand operand(const View& v, std::int64_t tile, std::int64_t n, std::int64_t h, std::int64_t w = 0);
  /// Sets counts to w, h, n and the steps of the operand to those of the view (times stride).
  void steps(isa::Operand& operand, const View& v, std::int64_t stride_w = 1, std::int64_t stride_h = 1);
  void set_steps(isa::Operand& operand, std::array<std::int64_t, 4> values);
  static void set_counts(isa::Instruction& in, std::int64_t w, std::int64_t h, std::int64_t n, std::int64_t outer = 1);
  void emit(Engine engine, isa::Instruction in);

  Queue load_queue(int variable) const;
  Queue store_queue(int variable) const;
};

/// A dimension of a transfer: count, byte steps on both sides.
struct TransferDim {
  std::int64_t count = 1, from = 0, to = 0;
};
/// Transfers for `dims` ([0] innermost, of `unit` contiguous bytes), neighbours merged, cut into patterns of 4 dimensions.
std::vector<Transfer> make_transfers(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                                     std::int64_t unit, std::vector<TransferDim> dims);

/// Rows of a value for one box after another: where it is when in SBUF, else loaded into two slots in turn.
class Reader {
 public:
  /// `bytes`: of the largest part asked for.
  Reader(Context& context, ValueId id, std::int64_t bytes, const graph::Node& node);
  View get(std::int64_t t0, std::int64_t nt, const Box& box);

 private:
  Context& c_;
  ValueId id_;
  std::shared_ptr<Arena::Buffer> slots_[2];
  int next_ = 0;
};
/// The same for writing; end() stores the part when the value is not in SBUF.
class Writer {
 public:
  Writer(Context& context, ValueId id, std::int64_t bytes, const graph::Node& node);
  View begin(std::int64_t t0, std::int64_t nt, const Box& box);
  void end();

 private:
  Context& c_;
  ValueId id_;
  std::shared_ptr<Arena::Buffer> slots_[2];
  int next_ = 0;
  View view_;
  std::int64_t nt_ = 0;
  Box box_;
};

// ---- one function per operator ----
/// SBUF bytes per partition that the weights of a convolution take, and their largest piece.
struct WeightNeeds {
  std::uint64_t total = 0, largest = 0;
};
WeightNeeds weight_needs(const graph::Conv& conv, const Dims& input, const Dims& output, DataType dtype);
void lower_conv(Context& c, const graph::Node& node, const graph::Conv& op);
void lower_matmul(Context& c, const graph::Node& node, const graph::MatMul& op);
void lower_binary(Context& c, const graph::Node& node, const graph::Binary& op);
void lower_unary(Context& c, const graph::Node& node, const graph::Unary& op);
void lower_clip(Context& c, const graph::Node& node, const graph::Clip& op);
void lower_leaky_relu(Context& c, const graph::Node& node, const graph::LeakyRelu& op);
void lower_scale_shift(Context& c, const graph::Node& node, const graph::ScaleShift& op);
void lower_copy(Context& c, const graph::Node& node, const graph::Copy& op);
void lower_pool(Context& c, const graph::Node& node, const graph::Pool& op);
void lower_reshape(Context& c, const graph::Node& node, const graph::Reshape& op);
void lower_transpose(Context& c, const graph::Node& node, const graph::Transpose& op);
void lower_concat(Context& c, const graph::Node& node, const graph::Concat& op);
void lower_softmax(Context& c, const graph::Node& node, const graph::Softmax& op);

}  // namespace opennrt::compile::lower
