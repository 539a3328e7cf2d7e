// SPDX-License-Identifier: Apache-2.0
//
// Operators that work element by element: functions on the Scalar engine, arithmetic on the Vector engine.
#include <algorithm>

#include "models/lower/context.h"

namespace opennrt::compile::lower {
namespace {

using graph::Node;
using isa::Alu;
using isa::Instruction;
using isa::Opcode;

constexpr std::int64_t kChunkElements =
    2048;  // of tensors in SBUF: so that the next operator can start before this one ends

/// The plan of an elementwise operator: boxes that all streams have room for.
struct Plan {
  std::vector<Box> list;
  std::int64_t largest = 0;  ///< elements of a box
};

Plan plan(Context& c, const Node& node, const Dims& dims, std::size_t streams, bool scratch) {
  Plan p;
  std::int64_t limit = kChunkElements;
  if (streams > 0 || scratch) limit = std::min(limit, c.slot_bytes(streams + (scratch ? 1 : 0)) / 4);
  if (dims.w > 0xffff) {
    c.fail(ErrorCode::kUnsupported, node, fmt::format("a row of {} elements, expected at most 65535", dims.w));
    return p;
  }
  p.list = boxes(dims, std::max<std::int64_t>(limit, 1));
  for (const Box& b : p.list) p.largest = std::max(p.largest, b.nn * b.nh * dims.w);
  return p;
}

std::int64_t bytes_of(Context& c, ValueId id, std::int64_t elements) {
  return elements * c.at(id).element_bytes();
}

bool dram_only(Context& c, ValueId id) {
  return !c.at(id).sbuf;
}

/// Runs fn(instruction with counts set, tile, box, source view, destination view) over all boxes of a unary operator.
template <typename Fn>
void each(Context& c, const Node& node, bool scratch, Fn fn) {
  const ValueId x = node.inputs[0], y = node.output;
  c.try_resident(x);
  c.place_output(y, {x});
  const Dims d = c.at(y).dims;
  const std::size_t streams = static_cast<std::size_t>(dram_only(c, x)) + static_cast<std::size_t>(dram_only(c, y));
  const Plan p = plan(c, node, d, streams, scratch);
  Reader reader(c, x, bytes_of(c, x, p.largest), node);
  Writer writer(c, y, bytes_of(c, y, p.largest), node);
  std::shared_ptr<Arena::Buffer> temporary;
  if (scratch) temporary = c.scratch(static_cast<std::uint64_t>(p.largest * 4), node);
  for (std::int64_t t = 0; t < tiles(d.c) && !c.failed(); ++t) {
    for (const Box& b : p.list) {
      const View from = reader.get(t, 1, b), to = writer.begin(t, 1, b);
      if (c.failed()) return;
      Instruction in;
      in.partitions = tile_channels(d.c, t);
      Context::set_counts(in, d.w, b.nh, b.nn);
      in.src0 = c.operand(from, t, b.n0, b.h0);
      c.steps(in.src0, from);
      in.dst = c.operand(to, t, b.n0, b.h0);
      c.steps(in.dst, to);
      isa::Operand temp;
      if (scratch) {
        temp.offset = temporary->offset();
        c.set_steps(temp, {1, d.w, d.w * b.nh, 0});
      }
      fn(in, t, temp);
      writer.end();
    }
  }
}

void activate(Context& c, Instruction in, isa::Activation function, float scale) {
  in.opcode = Opcode::kActivate;
  in.op0 = static_cast<std::uint8_t>(function);
  in.imm0 = scale;
  c.emit(Engine::kAct, in);
}

void scalar(Context& c, Instruction in, Alu op, float value, Alu second = Alu::kBypass, float second_value = 0) {
  in.opcode = Opcode::kTensorScalar;
  in.op0 = static_cast<std::uint8_t>(op);
  in.op1 = static_cast<std::uint8_t>(second);
  in.imm0 = value;
  in.imm1 = second_value;
  c.emit(Engine::kPool, in);
}

Alu reversed(Alu op) {
  return op == Alu::kSubtract ? Alu::kReverseSubtract : op == Alu::kDivide ? Alu::kReverseDivide : op;
}

/// A constant operand of one value or one value per channel goes into the instruction or a column.
bool binary_with_constant(Context& c, const Node& node, Alu op, ValueId x, ValueId constant, bool constant_is_left) {
  const auto& values = *c.value(constant).constant;
  const Dims k = c.at(constant).dims, d = c.at(node.output).dims;
  const bool one = values.size() == 1, per_channel = k == Dims{1, d.c, 1, 1};
  if ((!one && !per_channel) || c.at(x).dims != d) return false;
  if (constant_is_left) op = reversed(op);
  Node only = node;
  only.inputs = {x};
  std::vector<std::uint32_t> columns;
  for (std::int64_t t = 0; !one && t < tiles(d.c); ++t)
    columns.push_back(c.add_column(values.data() + t * kPartitions, tile_channels(d.c, t)));
  each(c, only, false, [&](Instruction in, std::int64_t t, const isa::Operand&) {
    if (one) return scalar(c, in, op, values[0]);
    in.opcode = Opcode::kTensorScalar;
    in.op0 = static_cast<std::uint8_t>(op);
    in.src1 = c.column(columns[static_cast<std::size_t>(t)]);
    in.src1_per_partition = true;
    c.emit(Engine::kPool, in);
  });
  return true;
}

/// The part of a box that an operand has which may be broadcast along images or rows.
Box part_of(const Box& b, const Dims& d) {
  Box p = b;
  if (d.n == 1) p.n0 = 0, p.nn = 1;
  if (d.h == 1) p.h0 = 0, p.nh = 1;
  return p;
}
/// Steps of 0 where the operand has one element and the result several.
View broadcast(View v, const Box& part, const Dims& d, const Dims& out) {
  if (d.n == 1 && out.n > 1) v.n_step = 0, v.n0 = part.n0;
  if (d.h == 1 && out.h > 1) v.h_step = 0, v.h0 = part.h0;
  if (d.w == 1 && out.w > 1) v.w_step = 0;
  return v;
}

}  // namespace

void lower_unary(Context& c, const Node& node, const graph::Unary& op) {
  each(c, node, false,
       [&](const Instruction& in, std::int64_t, const isa::Operand&) { activate(c, in, op.function, op.scale); });
}

void lower_copy(Context& c, const Node& node, const graph::Copy&) {
  each(c, node, false, [&](Instruction in, std::int64_t, const isa::Operand&) {
    in.opcode = Opcode::kTensorCopy;
    c.emit(Engine::kPool, in);
  });
}

void lower_clip(Context& c, const Node& node, const graph::Clip& op) {
  each(c, node, false, [&](const Instruction& in, std::int64_t, const isa::Operand&) {
    scalar(c, in, Alu::kMax, op.low, Alu::kMin, op.high);
  });
}

void lower_leaky_relu(Context& c, const Node& node, const graph::LeakyRelu& op) {
  // With a slope of 0 to 1 it is the larger of x and slope * x.
  each(c, node, true, [&](const Instruction& in, std::int64_t, const isa::Operand& temp) {
    Instruction scaled = in;
    scaled.dst = temp;
    scalar(c, scaled, Alu::kMult, op.slope);
    Instruction larger = in;
    larger.opcode = Opcode::kTensorTensor;
    larger.op0 = static_cast<std::uint8_t>(Alu::kMax);
    larger.src1 = temp;
    c.emit(Engine::kPool, larger);
  });
}

void lower_scale_shift(Context& c, const Node& node, const graph::ScaleShift& op) {
  const std::int64_t channels = c.at(node.output).dims.c;
  std::vector<std::uint32_t> scale, shift;
  for (std::int64_t t = 0; t < tiles(channels); ++t) {
    scale.push_back(c.add_column(op.scale.data() + t * kPartitions, tile_channels(channels, t)));
    shift.push_back(c.add_column(op.shift.data() + t * kPartitions, tile_channels(channels, t)));
  }
  each(c, node, true, [&](const Instruction& in, std::int64_t t, const isa::Operand& temp) {
    Instruction multiply = in;
    multiply.opcode = Opcode::kTensorScalar;
    multiply.op0 = static_cast<std::uint8_t>(Alu::kMult);
    multiply.src1 = c.column(scale[static_cast<std::size_t>(t)]);
    multiply.src1_per_partition = true;
    multiply.dst = temp;
    c.emit(Engine::kPool, multiply);
    Instruction add = in;
    add.src0 = temp;
    add.src1 = c.column(shift[static_cast<std::size_t>(t)]);
    add.src1_per_partition = true;
    activate(c, add, op.activation, 1);
  });
}

void lower_binary(Context& c, const Node& node, const graph::Binary& op) {
  ValueId a = node.inputs[0], b = node.inputs[1];
  const ValueId y = node.output;
  if (c.value(b).constant && binary_with_constant(c, node, op.op, a, b, false)) return;
  if (c.value(a).constant && binary_with_constant(c, node, op.op, b, a, true)) return;

  const Dims d = c.at(y).dims;
  for (const ValueId v : {a, b}) c.try_resident(v);
  c.place_output(y, {a, b});
  const ValueId operands[2] = {a, b};
  std::size_t streams = static_cast<std::size_t>(dram_only(c, y));
  bool spread = false;
  for (const ValueId v : operands) {
    streams += static_cast<std::size_t>(dram_only(c, v));
    spread = spread || (c.at(v).dims.c == 1 && d.c > 1);
  }
  const Plan p = plan(c, node, d, streams + (spread ? 1 : 0), false);
  Reader first(c, a, bytes_of(c, a, p.largest), node), second(c, b, bytes_of(c, b, p.largest), node);
  Reader* readers[2] = {&first, &second};
  Writer writer(c, y, bytes_of(c, y, p.largest), node);
  std::shared_ptr<Arena::Buffer> spreads[2];
  for (int i = 0; i < 2; ++i) {
    if (c.at(operands[i]).dims.c == 1 && d.c > 1)
      spreads[i] = c.scratch(static_cast<std::uint64_t>(p.largest * 4), node);
  }
  for (std::int64_t t = 0; t < tiles(d.c); ++t) {
    for (const Box& box : p.list) {
      if (c.failed()) return;
      Instruction in;
      in.opcode = Opcode::kTensorTensor;
      in.op0 = static_cast<std::uint8_t>(op.op);
      in.partitions = tile_channels(d.c, t);
      Context::set_counts(in, d.w, box.nh, box.nn);
      isa::Operand* sources[2] = {&in.src0, &in.src1};
      for (int i = 0; i < 2; ++i) {
        const Dims od = c.at(operands[i]).dims;
        const Box part = part_of(box, od);
        const std::int64_t tile = od.c == 1 ? 0 : t;
        View v = readers[i]->get(tile, 1, part);
        if (c.failed()) return;
        if (spreads[i]) {
          Instruction copy;
          copy.opcode = Opcode::kPartitionBroadcast;
          copy.partitions = in.partitions;
          Context::set_counts(copy, od.w, part.nh, part.nn);
          copy.src0 = c.operand(v, 0, part.n0, part.h0);
          c.steps(copy.src0, v);
          View wide;
          wide.dtype = v.dtype;
          wide.offset = spreads[i]->offset();
          wide.t0 = t, wide.n0 = part.n0, wide.h0 = part.h0;
          wide.h_step = od.w;
          wide.n_step = od.w * part.nh;
          copy.dst = c.operand(wide, t, part.n0, part.h0);
          c.steps(copy.dst, wide);
          c.emit(Engine::kPool, copy);
          v = wide;
        }
        v = broadcast(v, part, od, d);
        *sources[i] = c.operand(v, od.c == 1 && !spreads[i] ? 0 : t, part.n0, part.h0);
        c.steps(*sources[i], v);
      }
      const View to = writer.begin(t, 1, box);
      if (c.failed()) return;
      in.dst = c.operand(to, t, box.n0, box.h0);
      c.steps(in.dst, to);
      c.emit(Engine::kPool, in);
      writer.end();
    }
  }
}

}  // namespace opennrt::compile::lower
