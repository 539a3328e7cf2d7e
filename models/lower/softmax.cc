// SPDX-License-Identifier: Apache-2.0
//
// Softmax along any dimensions: the largest element is found, subtracted, exp() taken on the Scalar engine, the sum found, and
// its reciprocal multiplied in. Channels are reduced across partitions, the other dimensions along them. Everything between
// is fp32.
#include <algorithm>

#include "models/lower/context.h"

namespace opennrt::compile::lower {
namespace {

using graph::Axis;
using graph::Node;
using isa::Alu;
using isa::Instruction;
using isa::Opcode;

class SoftmaxLowering {
 public:
  SoftmaxLowering(Context& c, const Node& node, const graph::Softmax& op)
      : c_(c), node_(node), d_(c.at(node.output).dims) {
    const std::size_t rank = c.value(node.output).shape.size();
    for (std::size_t i = op.first; i <= op.last && rank > 0; ++i)
      over_[static_cast<std::size_t>(*graph::axis_of(rank, i))] = true;
  }

  void run() {
    const ValueId x = node_.inputs[0], y = node_.output;
    c_.try_resident(x);
    c_.place_output(y);
    const std::int64_t nt = tiles(d_.c);
    const std::int64_t share = over(Axis::kC) ? nt : 1;  // channel tiles that have to be there together
    // Working memory per element of a box: exp of all tiles, maximum and sum (each twice: one partition, and spread), and slots.
    const std::int64_t per_element = 4 * (share + 5) + 2 * share * (c_.at(x).sbuf ? 0 : c_.at(x).element_bytes()) +
                                     2 * share * (c_.at(y).sbuf ? 0 : c_.at(y).element_bytes());
    const std::int64_t limit = std::min<std::int64_t>(1024, (c_.arena.largest_hole() / 2) / per_element);
    std::vector<Box> list = boxes(d_, std::max<std::int64_t>(1, limit));
    if (over(Axis::kN)) {
      list = {{0, d_.n, 0, d_.h}};
    } else if (over(Axis::kH) && (list.empty() || list[0].nh != d_.h)) {
      list = boxes(d_, d_.h * d_.w);
    }
    std::int64_t largest = 0;
    for (const Box& b : list) largest = std::max(largest, b.nn * b.nh * d_.w);
    if (d_.w > 0xffff || largest > 32767)
      return c_.fail(ErrorCode::kUnsupported, node_,
                     fmt::format("{} elements have to be taken together, expected at most 32767", largest));
    Reader reader(c_, x, share * largest * c_.at(x).element_bytes(), node_);
    Writer writer(c_, y, share * largest * c_.at(y).element_bytes(), node_);
    const auto bytes = static_cast<std::uint64_t>(largest * 4);
    exp_ = c_.scratch(bytes * static_cast<std::uint64_t>(share), node_);
    row_ = c_.scratch(bytes, node_);
    other_row_ = c_.scratch(bytes, node_);
    reduced_ = c_.scratch(bytes, node_);
    spread_ = c_.scratch(bytes, node_);
    for (std::int64_t t = 0; t < nt; t += share) {
      for (const Box& b : list) {
        box_ = b;
        const View from = reader.get(t, share, b);
        if (c_.failed()) return;
        const View e = scratch_view(exp_, t);
        const isa::Operand maximum = reduce(Alu::kMax, from, t, share);
        for (std::int64_t i = t; i < t + share; ++i) {
          combine(Alu::kSubtract, from, i, maximum, e);
          Instruction in = shaped(i);
          in.opcode = Opcode::kActivate;
          in.op0 = static_cast<std::uint8_t>(isa::Activation::kExp);
          in.imm0 = 1;
          in.src0 = in.dst = at(e, i);
          c_.emit(Engine::kAct, in);
        }
        const isa::Operand sum = reduce(Alu::kAdd, e, t, share, true);
        const View to = writer.begin(t, share, b);
        if (c_.failed()) return;
        for (std::int64_t i = t; i < t + share; ++i) combine(Alu::kMult, e, i, sum, to);
        writer.end();
      }
    }
  }

 private:
  bool over(Axis a) const { return over_[static_cast<std::size_t>(a)]; }

  View scratch_view(const std::shared_ptr<Arena::Buffer>& buffer, std::int64_t t0) const {
    View v;
    v.offset = buffer->offset();
    v.t0 = t0, v.n0 = box_.n0, v.h0 = box_.h0;
    v.h_step = d_.w;
    v.n_step = d_.w * box_.nh;
    v.t_step = v.n_step * box_.nn;
    return v;
  }
  Instruction shaped(std::int64_t tile) const {
    Instruction in;
    in.partitions = tile_channels(d_.c, tile);
    Context::set_counts(in, d_.w, box_.nh, box_.nn);
    return in;
  }
  isa::Operand at(const View& v, std::int64_t tile) {
    isa::Operand o = c_.operand(v, tile, box_.n0, box_.h0);
    c_.steps(o, v);
    return o;
  }
  /// Packed operand of what is left after the reduction along the partition; steps of 0 in the dimensions that are gone.
  isa::Operand reduced_operand(const std::shared_ptr<Arena::Buffer>& buffer) {
    isa::Operand o;
    o.offset = buffer->offset();
    const std::int64_t w = over(Axis::kW) ? 1 : d_.w, h = over(Axis::kH) ? 1 : box_.nh;
    c_.set_steps(o, {over(Axis::kW) ? 0 : 1, over(Axis::kH) ? 0 : w, over(Axis::kN) ? 0 : w * h, 0});
    return o;
  }
  std::int64_t reduced_elements() const {
    return (over(Axis::kW) ? 1 : d_.w) * (over(Axis::kH) ? 1 : box_.nh) * (over(Axis::kN) ? 1 : box_.nn);
  }

  /// The reduction of tiles [t, t + share) over the dimensions asked for, on all partitions; with `invert` its reciprocal.
  isa::Operand reduce(Alu op, const View& v, std::int64_t t, std::int64_t share, bool invert = false) {
    View source = v;
    std::uint8_t partitions = tile_channels(d_.c, t);
    if (over(Axis::kC)) {
      for (std::int64_t i = t; i < t + share; ++i) {
        Instruction in = shaped(i);
        in.opcode = Opcode::kPartitionReduce;
        in.op0 = static_cast<std::uint8_t>(op);
        in.src0 = at(v, i);
        const View row = scratch_view(row_, t), other = scratch_view(other_row_, t);
        in.dst = at(i == t ? row : other, t);
        c_.emit(Engine::kPool, in);
        if (i == t) continue;
        Instruction both = shaped(t);
        both.opcode = Opcode::kTensorTensor;
        both.partitions = 1;
        both.op0 = static_cast<std::uint8_t>(op);
        both.src0 = both.dst = at(row, t);
        both.src1 = at(other, t);
        c_.emit(Engine::kPool, both);
      }
      source = scratch_view(row_, t);
      partitions = 1;
    }
    const bool along = over(Axis::kN) || over(Axis::kH) || over(Axis::kW);
    isa::Operand result = reduced_operand(along ? reduced_ : row_);
    if (along) {
      Instruction in = shaped(t);
      in.opcode = Opcode::kTensorReduce;
      in.partitions = partitions;
      in.op0 = static_cast<std::uint8_t>(op);
      in.src0 = at(source, t);
      in.dst = result;
      c_.emit(Engine::kPool, in);
    }
    Instruction flat;
    flat.partitions = partitions;
    Context::set_counts(flat, reduced_elements(), 1, 1);
    flat.src0 = flat.dst = result;
    flat.src0.steps = flat.dst.steps = {1, 0, 0, 0};
    if (invert) {
      flat.opcode = Opcode::kReciprocal;
      c_.emit(Engine::kPool, flat);
    }
    if (over(Axis::kC)) {
      flat.opcode = Opcode::kPartitionBroadcast;
      flat.partitions = tile_channels(d_.c, 0);
      flat.dst.offset = spread_->offset();
      c_.emit(Engine::kPool, flat);
      result.offset = spread_->offset();
    }
    return result;
  }

  void combine(Alu op, const View& a, std::int64_t tile, const isa::Operand& reduced, const View& to) {
    Instruction in = shaped(tile);
    in.opcode = Opcode::kTensorTensor;
    in.op0 = static_cast<std::uint8_t>(op);
    in.src0 = at(a, tile);
    in.src1 = reduced;
    in.dst = at(to, tile);
    c_.emit(Engine::kPool, in);
  }

  Context& c_;
  const Node& node_;
  const Dims d_;
  bool over_[4] = {};
  Box box_;
  std::shared_ptr<Arena::Buffer> exp_, row_, other_row_, reduced_, spread_;
};

}  // namespace

void lower_softmax(Context& c, const Node& node, const graph::Softmax& op) {
  SoftmaxLowering(c, node, op).run();
}

}  // namespace opennrt::compile::lower
