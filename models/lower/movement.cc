// SPDX-License-Identifier: Apache-2.0
//
// Operators that only move data. What stays on its partition is copied by the Vector engine; everything else goes by DMA, whose
// access patterns do the rearranging.
#include <algorithm>

#include "models/lower/context.h"

namespace opennrt::compile::lower {
namespace {

using graph::Node;
using isa::Instruction;
using isa::Opcode;

Queue queue_for(const Context& c, int from, int to) {
  if (to != static_cast<int>(kStateBufferVariable)) {
    const Queue q = c.store_queue(to);
    if (q == Queue::kOut || from == static_cast<int>(kStateBufferVariable)) return q;
  }
  return c.load_queue(from);
}

}  // namespace

void lower_reshape(Context& c, const Node& node, const graph::Reshape&) {
  const ValueId x = node.inputs[0], y = node.output;
  const Dims in = c.at(x).dims, out = c.at(y).dims;
  c.prepare_constant(x);
  if (c.at(x).sbuf && in.n == out.n && in.c == out.c) {  // rows are cut in another way: the bytes stay where they are
    c.at(y).sbuf = c.at(x).sbuf;
    if (!c.value(y).is_output && !c.value(x).is_output) c.at(y).dram = c.at(x).dram;
    return;
  }
  // Row-major order is the same before and after: the copy in DRAM is the result.
  c.at(y).dram = c.need_dram(x, c.value(y).is_output && !c.value(x).is_output ? c.dram_for_output(y) : -1);
}

void lower_transpose(Context& c, const Node& node, const graph::Transpose& op) {
  const ValueId x = node.inputs[0], y = node.output;
  const graph::Shape shape = c.value(x).shape;
  const std::size_t rank = shape.size();
  const int source = c.need_dram(x);
  // More than 4 dimensions do not map onto partitions and rows: they are turned around in DRAM.
  if (rank > 4)
    c.at(y).dram = c.dram_for_output(y);
  else
    c.place_output(y);
  const std::int64_t es = c.at(y).element_bytes();
  std::vector<std::int64_t> strides(rank, es);  // of the source, in bytes
  for (std::size_t i = rank; i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  const graph::Shape target = c.value(y).shape;
  const auto from_step = [&](std::size_t dimension) {
    return strides[static_cast<std::size_t>(op.permutation[dimension])];
  };

  if (!c.at(y).sbuf) {
    std::vector<TransferDim> dims;
    std::int64_t step = es;
    for (std::size_t i = rank; i-- > 0;) {
      dims.push_back({target[i], from_step(i), step});
      step *= target[i];
    }
    c.recorder.dma(queue_for(c, source, c.at(y).dram), make_transfers(source, 0, c.at(y).dram, 0, es, dims), false);
    return;
  }
  // Where each dimension of the result goes in SBUF; the channels from partition to partition.
  const Dims d = c.at(y).dims;
  for (std::int64_t t = 0; t < tiles(d.c); ++t) {
    std::vector<TransferDim> dims;
    std::uint64_t from = 0;
    for (std::size_t i = rank; i-- > 0;) {
      switch (*graph::axis_of(rank, i)) {
        case graph::Axis::kW:
          dims.push_back({d.w, from_step(i), es});
          break;
        case graph::Axis::kH:
          dims.push_back({d.h, from_step(i), d.w * es});
          break;
        case graph::Axis::kN:
          dims.push_back({d.n, from_step(i), d.h * d.w * es});
          break;
        case graph::Axis::kC:
          dims.push_back({tile_channels(d.c, t), from_step(i), static_cast<std::int64_t>(kPartitionStride)});
          from = static_cast<std::uint64_t>(t * kPartitions * from_step(i));
          break;
      }
    }
    const std::uint64_t to = c.at(y).sbuf->offset() + static_cast<std::uint64_t>(t * d.n * d.h * d.w * es);
    c.recorder.dma(queue_for(c, source, static_cast<int>(kStateBufferVariable)),
                   make_transfers(source, from, static_cast<int>(kStateBufferVariable), to, es, dims), false);
  }
}

namespace {

/// Channels of a resident `x` to channels from `first` on of a resident `y`.
void join_channels(Context& c, ValueId x, ValueId y, std::int64_t first) {
  const Dims d = c.at(x).dims;
  const std::int64_t es = c.at(y).element_bytes(), plane = d.n * d.h * d.w;
  for (std::int64_t done = 0; done < d.c && !c.failed();) {
    const std::int64_t to_channel = first + done, from_partition = done % kPartitions,
                       to_partition = to_channel % kPartitions;
    const std::int64_t count = std::min({d.c - done, kPartitions - from_partition, kPartitions - to_partition});
    const std::uint64_t from = c.at(x).sbuf->offset() + static_cast<std::uint64_t>(done / kPartitions * plane * es);
    const std::uint64_t to = c.at(y).sbuf->offset() + static_cast<std::uint64_t>(to_channel / kPartitions * plane * es);
    if (from_partition % 32 == 0 && to_partition % 32 == 0 && plane <= 0xffff) {
      // Engines reach every quadrant of the partitions (NKI allows operands to start at partition 0, 32, 64 and 96).
      Instruction in;
      in.opcode = Opcode::kTensorCopy;
      in.partitions = static_cast<std::uint8_t>(count);
      Context::set_counts(in, plane, 1, 1);
      in.src0.dtype = in.dst.dtype = c.at(y).dtype;
      in.src0.partition = static_cast<std::uint8_t>(from_partition);
      in.dst.partition = static_cast<std::uint8_t>(to_partition);
      in.src0.offset = static_cast<std::uint32_t>(from);
      in.dst.offset = static_cast<std::uint32_t>(to);
      in.src0.steps = in.dst.steps = {1, 0, 0, 0};
      c.emit(Engine::kPool, in);
    } else {
      const int sbuf = static_cast<int>(kStateBufferVariable);
      const auto stride = static_cast<std::int64_t>(kPartitionStride);
      c.recorder.dma(
          Queue::kLoad,
          make_transfers(sbuf, from + static_cast<std::uint64_t>(from_partition * stride), sbuf,
                         to + static_cast<std::uint64_t>(to_partition * stride), plane * es, {{count, stride, stride}}),
          false);
    }
    done += count;
  }
}

}  // namespace

void lower_concat(Context& c, const Node& node, const graph::Concat& op) {
  const ValueId y = node.output;
  const graph::Shape shape = c.value(y).shape;
  const graph::Axis axis = *graph::axis_of(shape.size(), op.dimension);
  c.place_output(y);
  const Dims out = c.at(y).dims;
  const std::int64_t es = c.at(y).element_bytes();
  std::int64_t at = 0;
  for (const ValueId x : node.inputs) {
    const Dims d = c.at(x).dims;
    if (c.at(y).sbuf && c.try_resident(x)) {
      if (axis == graph::Axis::kC) {
        join_channels(c, x, y, at);
      } else {
        const View from = c.whole(x), to = c.whole(y);
        for (std::int64_t t = 0; t < tiles(d.c); ++t) {
          for (const Box& b : boxes(d, 1 << 15)) {
            Instruction in;
            in.opcode = Opcode::kTensorCopy;
            in.partitions = tile_channels(d.c, t);
            Context::set_counts(in, d.w, b.nh, b.nn);
            in.src0 = c.operand(from, t, b.n0, b.h0);
            c.steps(in.src0, from);
            in.dst = c.operand(to, t, b.n0 + (axis == graph::Axis::kN ? at : 0),
                               b.h0 + (axis == graph::Axis::kH ? at : 0), axis == graph::Axis::kW ? at : 0);
            c.steps(in.dst, to);
            c.emit(Engine::kPool, in);
          }
        }
      }
    } else {
      // Through DRAM: row-major pieces into a row-major whole, or into SBUF.
      const int source = c.need_dram(x);
      const std::int64_t n0 = axis == graph::Axis::kN ? at : 0, c0 = axis == graph::Axis::kC ? at : 0;
      const std::int64_t h0 = axis == graph::Axis::kH ? at : 0, w0 = axis == graph::Axis::kW ? at : 0;
      if (!c.at(y).sbuf) {
        const std::int64_t start = (((n0 * out.c + c0) * out.h + h0) * out.w + w0) * es;
        c.recorder.dma(queue_for(c, source, c.at(y).dram),
                       make_transfers(source, 0, c.at(y).dram, static_cast<std::uint64_t>(start), d.w * es,
                                      {{d.h, d.w * es, out.w * es},
                                       {d.c, d.h * d.w * es, out.h * out.w * es},
                                       {d.n, d.c * d.h * d.w * es, out.c * out.h * out.w * es}}),
                       false);
      } else {
        const auto stride = static_cast<std::int64_t>(kPartitionStride);
        for (std::int64_t done = 0; done < d.c;) {
          const std::int64_t partition = (c0 + done) % kPartitions, tile = (c0 + done) / kPartitions,
                             count = std::min(d.c - done, kPartitions - partition);
          const std::int64_t to =
              partition * stride + c.at(y).sbuf->offset() + (((tile * out.n + n0) * out.h + h0) * out.w + w0) * es;
          c.recorder.dma(
              c.load_queue(source),
              make_transfers(source, static_cast<std::uint64_t>(done * d.h * d.w * es),
                             static_cast<int>(kStateBufferVariable), static_cast<std::uint64_t>(to), d.w * es,
                             {{d.h, d.w * es, out.w * es},
                              {d.n, d.c * d.h * d.w * es, out.h * out.w * es},
                              {count, d.h * d.w * es, stride}}),
              false);
          done += count;
        }
      }
    }
    at += axis == graph::Axis::kN ? d.n : axis == graph::Axis::kC ? d.c : axis == graph::Axis::kH ? d.h : d.w;
  }
}

}  // namespace opennrt::compile::lower
