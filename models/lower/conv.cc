// SPDX-License-Identifier: Apache-2.0
//
// Convolutions and dense layers on the Tensor engine. For each kernel tap and each tile of 128 input channels the weights
// [input channels, ≤64 output channels] become the stationary matrix, and the pixels that this tap sees stream through it (a
// strided access pattern, nothing is copied), adding up in a PSUM bank. Pixels outside the input are left out: a tap covers
// only the part of the output for which its input exists. The Scalar engine applies bias and activation on the way out of PSUM.
#include <algorithm>

#include "models/lower/constants.h"
#include "models/lower/context.h"

namespace opennrt::compile::lower {
namespace {

using graph::Conv;
using graph::Node;
using isa::Instruction;
using isa::Opcode;

constexpr std::int64_t kHalf = 64;               // output channels of one stationary matrix
constexpr std::uint64_t kChunkBytes = 8 * 1024;  // weights fetched at a time, per partition
constexpr std::size_t kGroup = 4;                // PSUM banks filled with the same stationary matrices

/// One stationary matrix.
struct Item {
  std::int64_t tile = 0, kh = 0, kw = 0, half = 0;
  std::int64_t rows = 0, columns = 0;
  std::int64_t at = 0;  ///< element in the chunk's partition rows
};
/// Matrices fetched together.
struct Chunk {
  std::vector<Item> items;
  std::int64_t rows = 0, elements = 0;  ///< per partition
};
/// Everything for one tile of 128 output channels.
using Slab = std::vector<Chunk>;

struct Extent {
  std::int64_t begin = 0, end = 0;
};
/// Output positions for which tap `k` reads inside the input.
Extent covered(std::int64_t k, std::int64_t dilation, std::int64_t stride, std::int64_t pad, std::int64_t input,
               std::int64_t output) {
  const std::int64_t shift = k * dilation - pad;  // input position = output * stride + shift
  const std::int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  const std::int64_t last = input - 1 - shift < 0 ? -1 : (input - 1 - shift) / stride;
  return {std::min(first, output), std::clamp<std::int64_t>(last + 1, std::min(first, output), output)};
}

std::vector<std::pair<std::int64_t, std::int64_t>> ordered_taps(const Conv& op, const Dims& in, const Dims& out) {
  std::vector<std::pair<std::int64_t, std::int64_t>> taps;
  for (std::int64_t kh = 0; kh < op.kernel[0]; ++kh) {
    for (std::int64_t kw = 0; kw < op.kernel[1]; ++kw) {
      const Extent h = covered(kh, op.dilation[0], op.stride[0], op.pad[0], in.h, out.h);
      const Extent w = covered(kw, op.dilation[1], op.stride[1], op.pad[1], in.w, out.w);
      if (h.begin == h.end || w.begin == w.end) continue;  // only ever sees padding
      const bool full = h.begin == 0 && h.end == out.h && w.begin == 0 && w.end == out.w;
      // One that covers everything goes first: it starts the sums, so that nothing has to be cleared.
      taps.insert(full ? taps.begin() : taps.end(), {kh, kw});
    }
  }
  return taps;
}

std::vector<Slab> plan_weights(const Conv& op, const Dims& in, const Dims& out, DataType dtype) {
  std::vector<Slab> slabs;
  const auto taps = ordered_taps(op, in, out);
  const std::int64_t group_in = in.c / op.groups, group_out = op.outputs / op.groups;
  const auto limit = static_cast<std::int64_t>(kChunkBytes / isa::data_type_bytes(dtype));
  for (std::int64_t t = 0; t < tiles(op.outputs); ++t) {
    Slab slab(1);
    for (const auto& [kh, kw] : taps) {
      for (std::int64_t tile = 0; tile < tiles(in.c); ++tile) {
        for (std::int64_t half = 0; half * kHalf < tile_channels(op.outputs, t); ++half) {
          Item item{tile, kh, kw, half, tile_channels(in.c, tile), 0, 0};
          const std::int64_t o0 = t * kPartitions + half * kHalf;
          item.columns = std::min<std::int64_t>(kHalf, op.outputs - o0);
          // With groups most pairs of input tile and output channels have nothing to do with each other.
          const std::int64_t i0 = o0 / group_out * group_in, i1 = ((o0 + item.columns - 1) / group_out + 1) * group_in;
          if (i1 <= tile * kPartitions || i0 >= tile * kPartitions + item.rows) continue;
          if (slab.back().elements + item.columns > limit && !slab.back().items.empty()) slab.emplace_back();
          Chunk& chunk = slab.back();
          item.at = chunk.elements;
          chunk.elements += item.columns;
          chunk.rows = std::max(chunk.rows, item.rows);
          chunk.items.push_back(item);
        }
      }
    }
    slabs.push_back(std::move(slab));
  }
  return slabs;
}

/// All chunks one after another, each [rows][elements].
std::vector<float> pack_weights(const Conv& op, const Dims& in, const std::vector<Slab>& slabs) {
  std::size_t total = 0;
  for (const Slab& slab : slabs) {
    for (const Chunk& chunk : slab) total += static_cast<std::size_t>(chunk.rows * chunk.elements);
  }
  std::vector<float> data(total, 0.0f);
  const std::int64_t group_in = in.c / op.groups, group_out = op.outputs / op.groups,
                     taps = op.kernel[0] * op.kernel[1];
  std::size_t base = 0;
  for (std::size_t t = 0; t < slabs.size(); ++t) {
    for (const Chunk& chunk : slabs[t]) {
      for (const Item& item : chunk.items) {
        for (std::int64_t m = 0; m < item.columns; ++m) {
          const std::int64_t o = static_cast<std::int64_t>(t) * kPartitions + item.half * kHalf + m;
          const std::int64_t first = o / group_out * group_in;
          for (std::int64_t k = 0; k < item.rows; ++k) {
            const std::int64_t i = item.tile * kPartitions + k - first;
            if (i < 0 || i >= group_in) continue;
            data[base + static_cast<std::size_t>(k * chunk.elements + item.at + m)] =
                op.weights[static_cast<std::size_t>((o * group_in + i) * taps + item.kh * op.kernel[1] + item.kw)];
          }
        }
      }
      base += static_cast<std::size_t>(chunk.rows * chunk.elements);
    }
  }
  return data;
}

/// Output positions that share a PSUM bank.
struct Tile {
  std::int64_t n0, nn, h0, nh, w0, nw;
  std::int64_t positions() const { return nn * nh * nw; }
};

std::vector<Tile> cut(const Box& b, std::int64_t width, std::int64_t limit) {
  std::vector<Tile> list;
  const std::int64_t image = b.nh * width;
  if (image <= limit) {
    const std::int64_t count = std::min(b.nn, limit / image);
    for (std::int64_t n = 0; n < b.nn; n += count)
      list.push_back({b.n0 + n, std::min(count, b.nn - n), b.h0, b.nh, 0, width});
    return list;
  }
  const std::int64_t columns = std::min(width, limit), rows = std::max<std::int64_t>(1, limit / columns);
  for (std::int64_t n = 0; n < b.nn; ++n) {
    for (std::int64_t h = 0; h < b.nh; h += rows) {
      for (std::int64_t w = 0; w < width; w += columns)
        list.push_back({b.n0 + n, 1, b.h0 + h, std::min(rows, b.nh - h), w, std::min(columns, width - w)});
    }
  }
  return list;
}

/// Fetches chunks into the ring of weight slots, and remembers those that are still there.
class WeightRing {
 public:
  WeightRing(Context& c, int variable, DataType dtype)
      : c_(c), variable_(variable), bytes_(static_cast<std::int64_t>(isa::data_type_bytes(dtype))) {}

  /// SBUF offset of the chunk whose data begin at `source` (elements) in the variable.
  std::uint32_t fetch(const Chunk& chunk, std::int64_t source) {
    if (const auto it = held_.find(source); it != held_.end()) return it->second.first;
    const auto size = static_cast<std::uint32_t>((chunk.elements * bytes_ + Arena::kAlignment - 1) / Arena::kAlignment *
                                                 Arena::kAlignment);
    if (c_.ring_next + size > c_.ring_bytes) c_.ring_next = 0;
    const std::uint32_t begin = c_.ring_begin + c_.ring_next, end = begin + size;
    c_.ring_next += size;
    for (auto it = held_.begin(); it != held_.end();) {
      it = it->second.first < end && it->second.second > begin ? held_.erase(it) : std::next(it);
    }
    held_[source] = {begin, end};
    const std::int64_t row = chunk.elements * bytes_;
    c_.recorder.dma(weight_queue(c_.weight_fetches++),
                    make_transfers(variable_, static_cast<std::uint64_t>(source * bytes_), kStateBufferVariable, begin,
                                   row, {{chunk.rows, row, static_cast<std::int64_t>(kPartitionStride)}}),
                    true);
    return begin;
  }

 private:
  Context& c_;
  int variable_;
  std::int64_t bytes_;
  std::map<std::int64_t, std::pair<std::uint32_t, std::uint32_t>> held_;
};

isa::Operand psum(const Context& c, std::uint32_t bank, std::int64_t partition) {
  isa::Operand o;
  o.space = isa::Space::kPsum;
  o.partition = static_cast<std::uint8_t>(partition);
  o.offset = bank * c.options.limits.psum_bank_bytes;
  return o;
}

/// Bias, activation, and out of PSUM into the result.
void drain(Context& c, const Tile& tile, std::uint32_t bank, std::int64_t channel_tile, std::uint8_t channels,
           const View& to, isa::Activation function, float scale, std::optional<std::uint32_t> bias) {
  Instruction in;
  in.opcode = Opcode::kActivate;
  in.partitions = channels;
  in.op0 = static_cast<std::uint8_t>(function);
  in.imm0 = scale;
  Context::set_counts(in, tile.nw, tile.nh, tile.nn);
  in.src0 = psum(c, bank, 0);
  c.set_steps(in.src0, {1, tile.nw, tile.nw * tile.nh, 0});
  in.dst = c.operand(to, channel_tile, tile.n0, tile.h0, tile.w0);
  c.steps(in.dst, to);
  if (bias) {
    in.src1 = c.column(*bias);
    in.src1_per_partition = true;
  }
  c.emit(Engine::kAct, in);
}

struct Position {  // of one chunk: where its data begin in the file
  const Chunk* chunk;
  std::int64_t source;
};

class ConvLowering {
 public:
  ConvLowering(Context& c, const Node& node, const Conv& op)
      : c_(c), node_(node), op_(op), in_(c.at(node.inputs[0]).dims), out_(c.at(node.output).dims) {}

  void run() {
    const ValueId x = node_.inputs[0], y = node_.output;
    const DataType dtype = c_.at(x).dtype;
    const std::vector<Slab> slabs = plan_weights(op_, in_, out_, dtype);
    std::vector<std::vector<Position>> positions;
    std::int64_t source = 0;
    for (const Slab& slab : slabs) {
      auto& list = positions.emplace_back();
      for (const Chunk& chunk : slab) {
        if (chunk.items.empty()) continue;  // every tap only ever sees padding
        list.push_back({&chunk, source});
        source += chunk.rows * chunk.elements;
      }
    }
    if (source > onnx_model::kMaxElements * 2)
      return c_.fail(ErrorCode::kUnsupported, node_,
                     fmt::format("the weights take {} elements on the device, expected at most {}", source,
                                 onnx_model::kMaxElements * 2));
    const int file = source == 0 ? -1
                                 : c_.add_file(fmt::format("w{}", c_.subgraph.variables.size()),
                                               pack(pack_weights(op_, in_, slabs), dtype));
    for (std::int64_t t = 0; t < tiles(out_.c); ++t)
      biases_.push_back(c_.add_column(op_.bias.data() + t * kPartitions, tile_channels(out_.c, t)));
    c_.report.macs +=
        static_cast<std::uint64_t>(out_.elements() * (in_.c / op_.groups) * op_.kernel[0] * op_.kernel[1]);

    c_.try_resident(x);
    c_.place_output(y);
    const bool x_here = c_.at(x).sbuf != nullptr, y_here = c_.at(y).sbuf != nullptr;
    const std::vector<Box> bands = cut_bands(x_here, y_here);
    std::int64_t x_bytes = 0, y_bytes = 0;
    for (const Box& b : bands) {
      const Box r = rows_read(b);
      x_bytes = std::max(x_bytes, tiles(in_.c) * r.nn * r.nh * in_.w * c_.at(x).element_bytes());
      y_bytes = std::max(y_bytes, b.nn * b.nh * out_.w * c_.at(y).element_bytes());
    }
    Reader reader(c_, x, x_bytes, node_);
    Writer writer(c_, y, y_bytes, node_);
    WeightRing ring(c_, file, dtype);
    // Whatever is not in SBUF is in the inner loop only when the other one is: weights are fetched as rarely as possible.
    if (x_here) {
      for (std::int64_t t = 0; t < tiles(out_.c); ++t) {
        for (const Box& b : bands)
          step(reader.get(0, tiles(in_.c), rows_read(b)), writer, ring, positions[static_cast<std::size_t>(t)], t, b);
      }
    } else {
      for (const Box& b : bands) {
        const View from = reader.get(0, tiles(in_.c), rows_read(b));
        for (std::int64_t t = 0; t < tiles(out_.c); ++t)
          step(from, writer, ring, positions[static_cast<std::size_t>(t)], t, b);
      }
    }
  }

 private:
  /// Input rows that output rows of a band need, clipped to those that exist.
  Box rows_read(const Box& b) const {
    const std::int64_t first = b.h0 * op_.stride[0] - op_.pad[0];
    const std::int64_t last = (b.h0 + b.nh - 1) * op_.stride[0] - op_.pad[0] + (op_.kernel[0] - 1) * op_.dilation[0];
    const std::int64_t h0 = std::clamp<std::int64_t>(first, 0, in_.h - 1),
                       h1 = std::clamp<std::int64_t>(last, 0, in_.h - 1);
    return {b.n0, b.nn, h0, h1 - h0 + 1};
  }

  std::vector<Box> cut_bands(bool x_here, bool y_here) {
    const std::int64_t bank = c_.options.limits.psum_bank_bytes / 4;
    if (x_here && y_here) {
      // Steps between images must fit into 16 bits when several go together.
      if (in_.h * in_.w <= 32767 && out_.h * out_.w <= 32767) return {{0, out_.n, 0, out_.h}};
      return boxes({out_.n, 1, out_.h, out_.w}, out_.h * out_.w);
    }
    const std::int64_t slot = c_.slot_bytes(static_cast<std::size_t>(!x_here) + static_cast<std::size_t>(!y_here));
    const auto fits = [&](std::int64_t images, std::int64_t rows) {
      const std::int64_t read = std::min(in_.h, (rows - 1) * op_.stride[0] + (op_.kernel[0] - 1) * op_.dilation[0] + 1);
      const std::int64_t xb = tiles(in_.c) * images * read * in_.w * c_.at(node_.inputs[0]).element_bytes();
      const std::int64_t yb = images * rows * out_.w * c_.at(node_.output).element_bytes();
      return (x_here || xb <= slot) && (y_here || yb <= slot);
    };
    std::vector<Box> list;
    if (fits(1, out_.h) && in_.h * in_.w <= 32767 && out_.h * out_.w <= 32767) {
      std::int64_t images = 1;
      while (images < out_.n && images * 2 * out_.h * out_.w <= bank * static_cast<std::int64_t>(kGroup) &&
             fits(images * 2, out_.h))
        images *= 2;
      for (std::int64_t n = 0; n < out_.n; n += images) list.push_back({n, std::min(images, out_.n - n), 0, out_.h});
      return list;
    }
    std::int64_t rows = out_.h;
    while (rows > 1 && !fits(1, rows)) --rows;
    // Whole PSUM banks waste nothing.
    const std::int64_t per_bank = std::max<std::int64_t>(1, bank / out_.w);
    if (rows > per_bank) rows = rows / per_bank * per_bank;
    for (std::int64_t n = 0; n < out_.n; ++n) {
      for (std::int64_t h = 0; h < out_.h; h += rows) list.push_back({n, 1, h, std::min(rows, out_.h - h)});
    }
    return list;
  }

  void step(const View& from, Writer& writer, WeightRing& ring, const std::vector<Position>& chunks, std::int64_t t,
            const Box& band) {
    const View to = writer.begin(t, 1, band);
    const std::vector<Tile> list = cut(band, out_.w, c_.options.limits.psum_bank_bytes / 4);
    for (std::size_t g = 0; g < list.size() && !c_.failed(); g += kGroup)
      group(from, to, ring, chunks, t, {list.data() + g, std::min(kGroup, list.size() - g)});
    writer.end();
  }

  /// The part of `tile` that tap (kh, kw) sees.
  Tile part(const Tile& tile, std::int64_t kh, std::int64_t kw) const {
    const Extent h = covered(kh, op_.dilation[0], op_.stride[0], op_.pad[0], in_.h, out_.h);
    const Extent w = covered(kw, op_.dilation[1], op_.stride[1], op_.pad[1], in_.w, out_.w);
    const std::int64_t h0 = std::max(h.begin, tile.h0), h1 = std::min(h.end, tile.h0 + tile.nh);
    const std::int64_t w0 = std::max(w.begin, tile.w0), w1 = std::min(w.end, tile.w0 + tile.nw);
    return {tile.n0, tile.nn, h0, std::max<std::int64_t>(0, h1 - h0), w0, std::max<std::int64_t>(0, w1 - w0)};
  }

  void group(const View& from, const View& to, WeightRing& ring, const std::vector<Position>& chunks, std::int64_t t,
             std::span<const Tile> list) {
    const std::uint8_t channels = tile_channels(out_.c, t);
    std::uint32_t banks[kGroup];
    bool started[kGroup][2] = {};
    for (std::size_t i = 0; i < list.size(); ++i) {
      banks[i] = c_.next_bank();
      // The first matrix of each half covers the whole tile, or zeros are what the sums start from.
      bool covers[2] = {false, channels <= kHalf};
      for (int half = 0; half < 2; ++half) {
        for (const Position& p : chunks) {
          const auto first = std::find_if(p.chunk->items.begin(), p.chunk->items.end(),
                                          [&](const Item& it) { return it.half == half; });
          if (first == p.chunk->items.end()) continue;
          const Tile seen = part(list[i], first->kh, first->kw);
          covers[half] = seen.nh == list[i].nh && seen.nw == list[i].nw;
          break;
        }
      }
      if (covers[0] && covers[1]) continue;
      Instruction clear;
      clear.opcode = Opcode::kMemset;
      clear.partitions = channels;
      Context::set_counts(clear, list[i].positions(), 1, 1);
      clear.dst = psum(c_, banks[i], 0);
      c_.set_steps(clear.dst, {1, 0, 0, 0});
      c_.emit(Engine::kPool, clear);
      started[i][0] = started[i][1] = true;
    }
    for (const Position& p : chunks) {
      const std::uint32_t weights = ring.fetch(*p.chunk, p.source);
      for (const Item& item : p.chunk->items) multiply(from, weights, item, list, banks, started);
      if (c_.failed()) return;
    }
    for (std::size_t i = 0; i < list.size(); ++i)
      drain(c_, list[i], banks[i], t, channels, to, op_.activation, 1, biases_[static_cast<std::size_t>(t)]);
  }

  void multiply(const View& from, std::uint32_t weights, const Item& item, std::span<const Tile> list,
                const std::uint32_t* banks, bool (*started)[2]) {
    bool loaded = false;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const Tile seen = part(list[i], item.kh, item.kw);
      if (seen.nh == 0 || seen.nw == 0) continue;
      if (!loaded) {
        Instruction load;
        load.opcode = Opcode::kLoadStationary;
        load.partitions = static_cast<std::uint8_t>(item.rows);
        Context::set_counts(load, item.columns, 1, 1);
        load.src0.dtype = from.dtype;
        load.src0.offset = weights + static_cast<std::uint32_t>(item.at) *
                                         static_cast<std::uint32_t>(isa::data_type_bytes(from.dtype));
        c_.set_steps(load.src0, {1, 0, 0, 0});
        c_.emit(Engine::kPe, load);
        loaded = true;
      }
      Instruction in;
      in.opcode = Opcode::kMatmul;
      in.partitions = static_cast<std::uint8_t>(item.rows);
      in.op1 = static_cast<std::uint8_t>(item.columns);
      in.accumulate = started[i][item.half];
      started[i][item.half] = true;
      Context::set_counts(in, seen.nw, seen.nh, seen.nn);
      in.src0 = c_.operand(from, item.tile, seen.n0, seen.h0 * op_.stride[0] + item.kh * op_.dilation[0] - op_.pad[0],
                           seen.w0 * op_.stride[1] + item.kw * op_.dilation[1] - op_.pad[1]);
      c_.steps(in.src0, from, op_.stride[1], op_.stride[0]);
      in.dst = psum(c_, banks[i], item.half * kHalf);
      in.dst.offset += static_cast<std::uint32_t>(((seen.h0 - list[i].h0) * list[i].nw + seen.w0 - list[i].w0) * 4);
      c_.set_steps(in.dst, {1, list[i].nw, list[i].nw * list[i].nh, 0});
      c_.emit(Engine::kPe, in);
    }
  }

  Context& c_;
  const Node& node_;
  const Conv& op_;
  const Dims in_, out_;
  std::vector<std::uint32_t> biases_;
};

}  // namespace

WeightNeeds weight_needs(const Conv& op, const Dims& in, const Dims& out, DataType dtype) {
  WeightNeeds needs;
  for (const Slab& slab : plan_weights(op, in, out, dtype)) {
    for (const Chunk& chunk : slab) {
      const std::uint64_t bytes =
          (static_cast<std::uint64_t>(chunk.elements) * isa::data_type_bytes(dtype) + Arena::kAlignment - 1) /
          Arena::kAlignment * Arena::kAlignment;
      needs.total += bytes;
      needs.largest = std::max(needs.largest, bytes);
    }
  }
  return needs;
}

void lower_conv(Context& c, const Node& node, const Conv& op) {
  ConvLowering(c, node, op).run();
}

void lower_matmul(Context& c, const Node& node, const graph::MatMul& op) {
  const ValueId a = node.inputs[0], b = node.inputs[1], y = node.output;
  if (!c.need_resident(a, node) || !c.need_resident(b, node)) return;
  c.place_output(y);
  const Dims da = c.at(a).dims,
             dy = c.at(y).dims;  // [M,K], [M,N]: rows along the partition, columns over the partitions
  const View left = c.whole(a), right = c.whole(b);
  c.report.macs += static_cast<std::uint64_t>(dy.elements() * da.c);
  const std::int64_t limit = c.options.limits.psum_bank_bytes / 4;
  const auto list = boxes({dy.n, 1, 1, 1}, limit);
  Writer writer(c, y, limit * c.at(y).element_bytes(), node);
  for (std::int64_t t = 0; t < tiles(dy.c) && !c.failed(); ++t) {
    const std::uint8_t channels = tile_channels(dy.c, t);
    for (const Box& box : list) {
      const std::uint32_t bank = c.next_bank();
      for (std::int64_t k = 0; k < tiles(da.c); ++k) {
        for (std::int64_t half = 0; half * kHalf < channels; ++half) {
          const std::int64_t n0 = t * kPartitions + half * kHalf, columns = std::min<std::int64_t>(kHalf, dy.c - n0);
          Instruction load;
          load.opcode = Opcode::kLoadStationary;
          load.partitions = tile_channels(da.c, k);
          Context::set_counts(load, columns, 1, 1);
          load.src0 = c.operand(right, k, n0, 0);
          c.set_steps(load.src0, {right.n_step, 0, 0, 0});
          c.emit(Engine::kPe, load);
          Instruction in;
          in.opcode = Opcode::kMatmul;
          in.partitions = tile_channels(da.c, k);
          in.op1 = static_cast<std::uint8_t>(columns);
          in.accumulate = k > 0;
          Context::set_counts(in, box.nn, 1, 1);
          in.src0 = c.operand(left, k, box.n0, 0);
          c.set_steps(in.src0, {left.n_step, 0, 0, 0});
          in.dst = psum(c, bank, half * kHalf);
          c.set_steps(in.dst, {1, 0, 0, 0});
          c.emit(Engine::kPe, in);
        }
      }
      const View to = writer.begin(t, 1, box);
      drain(c, {box.n0, box.nn, 0, 1, 0, 1}, bank, t, channels, to, op.activation, op.scale, std::nullopt);
      writer.end();
    }
  }
}

}  // namespace opennrt::compile::lower
