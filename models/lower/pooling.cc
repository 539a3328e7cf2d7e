// SPDX-License-Identifier: Apache-2.0
//
// MaxPool and AveragePool on the Vector engine: a reduction over the two window dimensions of a 4-dimensional access pattern.
// Windows that reach over the edge see fewer elements; outputs whose windows are cut in the same way go together.
#include <algorithm>

#include "models/lower/context.h"

namespace opennrt::compile::lower {
namespace {

using graph::Node;
using graph::Pool;
using isa::Alu;
using isa::Instruction;
using isa::Opcode;

constexpr std::int64_t kChunkReads =
    8192;  // elements read per instruction: so that the next operator can start before this one ends

/// Outputs [begin, end) of one dimension whose windows see taps [tap0, tap1).
struct Run {
  std::int64_t begin, end, tap0, tap1;
};

std::vector<Run> runs(std::int64_t from, std::int64_t to, std::int64_t kernel, std::int64_t stride,
                      std::int64_t dilation, std::int64_t pad, std::int64_t input) {
  std::vector<Run> list;
  for (std::int64_t o = from; o < to; ++o) {
    const std::int64_t base = o * stride - pad;
    const std::int64_t tap0 = base >= 0 ? 0 : std::min(kernel, (-base + dilation - 1) / dilation);
    const std::int64_t tap1 = base >= input ? 0 : std::min(kernel, (input - 1 - base) / dilation + 1);
    if (!list.empty() && list.back().tap0 == tap0 && list.back().tap1 == tap1) {
      list.back().end = o + 1;
    } else {
      list.push_back({o, o + 1, tap0, tap1});
    }
  }
  return list;
}

}  // namespace

void lower_pool(Context& c, const Node& node, const Pool& op) {
  const ValueId x = node.inputs[0], y = node.output;
  c.try_resident(x);
  c.place_output(y);
  const Dims in = c.at(x).dims, out = c.at(y).dims;
  const bool x_here = c.at(x).sbuf != nullptr, y_here = c.at(y).sbuf != nullptr;
  const std::int64_t slot = c.slot_bytes(static_cast<std::size_t>(!x_here) + static_cast<std::size_t>(!y_here));
  const auto rows_read = [&](std::int64_t n, std::int64_t h0, std::int64_t nh) {
    const std::int64_t first = std::clamp<std::int64_t>(h0 * op.stride[0] - op.pad[0], 0, in.h - 1);
    const std::int64_t last = std::clamp<std::int64_t>(
        (h0 + nh - 1) * op.stride[0] - op.pad[0] + (op.kernel[0] - 1) * op.dilation[0], 0, in.h - 1);
    return Box{n, 1, first, last - first + 1};
  };
  std::int64_t rows = std::clamp<std::int64_t>(kChunkReads / (out.w * op.kernel[0] * op.kernel[1]), 1, out.h);
  const auto x_size = [&](std::int64_t r) {
    return std::min(in.h, (r - 1) * op.stride[0] + (op.kernel[0] - 1) * op.dilation[0] + 1) * in.w *
           c.at(x).element_bytes();
  };
  const auto y_size = [&](std::int64_t r) { return r * out.w * c.at(y).element_bytes(); };
  while (rows > 1 && ((!x_here && x_size(rows) > slot) || (!y_here && y_size(rows) > slot))) --rows;
  Reader reader(c, x, x_size(rows), node);
  Writer writer(c, y, y_size(rows), node);
  const bool whole_window =
      op.average && op.count_include_pad && std::any_of(op.pad.begin(), op.pad.end(), [](auto p) { return p > 0; });

  for (std::int64_t t = 0; t < tiles(out.c); ++t) {
    for (std::int64_t n = 0; n < out.n; ++n) {
      for (std::int64_t h0 = 0; h0 < out.h; h0 += rows) {
        const Box band{n, 1, h0, std::min(rows, out.h - h0)};
        const View from = reader.get(t, 1, rows_read(n, h0, band.nh)), to = writer.begin(t, 1, band);
        if (c.failed()) return;
        for (const Run& h : runs(h0, h0 + band.nh, op.kernel[0], op.stride[0], op.dilation[0], op.pad[0], in.h)) {
          for (const Run& w : runs(0, out.w, op.kernel[1], op.stride[1], op.dilation[1], op.pad[1], in.w)) {
            const std::int64_t kh = h.tap1 - h.tap0, kw = w.tap1 - w.tap0;
            if (kh <= 0 || kw <= 0)
              return c.fail(ErrorCode::kUnsupported, node, "a window that sees only padding is not supported");
            Instruction i;
            i.opcode = Opcode::kTensorReduce;
            i.op0 = static_cast<std::uint8_t>(!op.average ? Alu::kMax : whole_window ? Alu::kAdd : Alu::kAverage);
            i.partitions = tile_channels(out.c, t);
            i.counts = {static_cast<std::uint16_t>(kw), static_cast<std::uint16_t>(kh),
                        static_cast<std::uint16_t>(w.end - w.begin), static_cast<std::uint16_t>(h.end - h.begin)};
            i.src0 = c.operand(from, t, n, h.begin * op.stride[0] - op.pad[0] + h.tap0 * op.dilation[0],
                               w.begin * op.stride[1] - op.pad[1] + w.tap0 * op.dilation[1]);
            c.set_steps(i.src0, {op.dilation[1], op.dilation[0] * in.w, op.stride[1], op.stride[0] * in.w});
            i.dst = c.operand(to, t, n, h.begin, w.begin);
            c.set_steps(i.dst, {0, 0, 1, out.w});
            c.emit(Engine::kPool, i);
          }
        }
        if (whole_window) {  // the padding counts as zeros
          Instruction i;
          i.opcode = Opcode::kTensorScalar;
          i.op0 = static_cast<std::uint8_t>(Alu::kMult);
          i.imm0 = 1.0f / static_cast<float>(op.kernel[0] * op.kernel[1]);
          i.partitions = tile_channels(out.c, t);
          Context::set_counts(i, out.w, band.nh, 1);
          i.src0 = c.operand(to, t, n, h0);
          c.steps(i.src0, to);
          i.dst = i.src0;
          c.emit(Engine::kPool, i);
        }
        writer.end();
      }
    }
  }
}

}  // namespace opennrt::compile::lower
