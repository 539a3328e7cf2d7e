// SPDX-License-Identifier: Apache-2.0
#include "core/runtime/collective.h"

#include "core/collectives/reduce.h"

namespace opennrt {
namespace {

/// Bytes of the output that belongs to an input of `bytes`, among `ranks`.
Result<std::uint64_t> output_bytes(int type, std::uint64_t bytes, std::uint64_t ranks, std::uint64_t element) {
  if (type == NRT_CC_ALLGATHER) return bytes * ranks;
  if (type == NRT_CC_ALLREDUCE) return bytes;
  if (bytes % (ranks * element) != 0) {
    return make_error(ErrorCode::kInvalidArgument, "has {} bytes, expected a multiple of {} ranks of {}-byte elements",
                      bytes, ranks, element);
  }
  return bytes / ranks;
}

}  // namespace

Result<std::shared_ptr<Collective>> Collective::prepare(std::uint32_t vnc, std::uint32_t rank_in_group,
                                                        std::vector<std::uint32_t> group, Tensors inputs,
                                                        Tensors outputs, int dtype, int op, int type) {
  if (type != NRT_CC_ALLGATHER && type != NRT_CC_ALLREDUCE && type != NRT_CC_REDUCESCATTER) {
    return make_error(ErrorCode::kInvalidArgument,
                      "cc_op is {}, expected NRT_CC_ALLGATHER, NRT_CC_ALLREDUCE or NRT_CC_REDUCESCATTER", type);
  }
  const std::size_t element = collectives::element_bytes(dtype);
  if (element == 0) {
    return make_error(ErrorCode::kInvalidArgument, "dtype is {:#x}, expected one of nrt_dtype_t", dtype);
  }
  if (type != NRT_CC_ALLGATHER) {
    if (const Status valid = collectives::check_reduction(dtype, op); !valid) return tl::unexpected(valid.error());
  }
  if (inputs.empty() || inputs.size() != outputs.size()) {
    return make_error(ErrorCode::kInvalidArgument,
                      "there are {} inputs and {} outputs, expected as many, and at least 1", inputs.size(),
                      outputs.size());
  }
  std::shared_ptr<Collective> collective(new Collective);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::uint64_t bytes = inputs[i]->view().size, room = outputs[i]->view().size;
    const std::string name = fmt::format("input {} \"{}\"", i, inputs[i]->name());
    if (bytes == 0 || bytes % element != 0) {
      return make_error(ErrorCode::kInvalidArgument, "{} has {} bytes, expected elements of {}", name, bytes, element);
    }
    total += bytes;
    if (bytes > collectives::kMaxBytes || total > collectives::kMaxBytes) {
      return make_error(ErrorCode::kResource, "the inputs up to \"{}\" have {} bytes, expected at most {}",
                        inputs[i]->name(), total, collectives::kMaxBytes);
    }
    const auto expected = output_bytes(type, bytes, group.size(), element);
    if (!expected) return make_error(expected.error().code, "{} {}", name, expected.error().message);
    if (room != *expected) {
      return make_error(ErrorCode::kInvalidArgument,
                        "output {} \"{}\" has {} bytes, expected {} for {} of {} bytes and {} ranks", i,
                        outputs[i]->name(), room, *expected, name, bytes, group.size());
    }
    collective->sizes_.push_back(bytes);
  }
  collective->vnc_ = vnc;
  collective->rank_in_group_ = rank_in_group;
  collective->type_ = type;
  collective->operation_.kind = type == NRT_CC_ALLGATHER ? collectives::Kind::kGather : collectives::Kind::kReduce;
  collective->operation_.lane = collectives::Lane::kQueue;
  collective->operation_.dtype = dtype;
  collective->operation_.op = op;
  collective->operation_.group = std::move(group);
  collective->inputs_ = std::move(inputs);
  collective->outputs_ = std::move(outputs);
  return collective;
}

Status Collective::run(collectives::Communicator& communicator) {
  std::uint64_t total = 0;
  for (const std::uint64_t bytes : sizes_) total += bytes;
  collectives::Bytes mine(total);
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < inputs_.size(); at += sizes_[i++]) {
    if (const Status read = inputs_[i]->read(mine.data() + at, 0, sizes_[i]); !read) return read;
  }
  const auto result = communicator.run(vnc_, operation_, std::move(mine));
  if (!result) return tl::unexpected(result.error());
  const std::uint64_t ranks = operation_.group.size();
  const std::uint64_t expected = type_ == NRT_CC_ALLGATHER ? total * ranks : total;
  const collectives::Bytes& data = **result;
  if (data.size() != expected) {
    return make_error(ErrorCode::kInternal, "the result has {} bytes, expected {}", data.size(), expected);
  }
  at = 0;
  for (std::size_t i = 0; i < outputs_.size(); at += sizes_[i++]) {
    // Rank by rank in an all-gather, where what a rank gave to the tensors follows one another.
    const std::uint64_t parts = type_ == NRT_CC_ALLGATHER ? ranks : 1;
    const std::uint64_t bytes = type_ == NRT_CC_REDUCESCATTER ? sizes_[i] / ranks : sizes_[i];
    const std::uint64_t first = type_ == NRT_CC_REDUCESCATTER ? at + rank_in_group_ * bytes : at;
    for (std::uint64_t part = 0; part < parts; ++part) {
      const Status written = outputs_[i]->write(data.data() + part * total + first, part * bytes, bytes);
      if (!written) return written;
    }
  }
  return {};
}

}  // namespace opennrt
