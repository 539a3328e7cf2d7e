// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/hub.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "core/collectives/reduce.h"

namespace opennrt::collectives {
namespace {

std::string describe(const Operation& operation, std::size_t bytes) {
  switch (operation.kind) {
    case Kind::kBarrier:
      return "a barrier";
    case Kind::kGather:
      return fmt::format("an all-gather of {} bytes", bytes);
    case Kind::kReduce:
      return fmt::format("a reduction of {} bytes, dtype {:#x}, op {:#x}", bytes, operation.dtype, operation.op);
  }
  return "an unknown operation";
}

struct Part {
  std::uint32_t rank = 0;
  Operation operation;
  Bytes data;
  Done done;
};

/// kInvalidArgument: who differs from the first rank, and in what.
Status agree(const std::vector<Part>& parts) {
  const Part& first = parts.front();
  const std::string expected = describe(first.operation, first.data.size());
  for (const Part& part : parts) {
    const std::string given = describe(part.operation, part.data.size());
    if (given != expected) {
      return make_error(ErrorCode::kInvalidArgument, "rank {} calls for {}, rank {} for {}; expected the same",
                        part.rank, given, first.rank, expected);
    }
    if (part.operation.group != first.operation.group) {
      return make_error(ErrorCode::kInvalidArgument,
                        "rank {} has the group {}, rank {} has {}; expected the same order", part.rank,
                        enumerate(part.operation.group), first.rank, enumerate(first.operation.group));
    }
  }
  return {};
}

Result<SharedBytes> combine(std::vector<Part>& parts) {
  if (const Status same = agree(parts); !same) return tl::unexpected(same.error());
  // In the order of the group, whoever came first: the same bytes in every run.
  const std::vector<std::uint32_t>& order = parts.front().operation.group;
  std::vector<Bytes> inputs;
  for (const std::uint32_t rank : order) {
    const auto found = std::find_if(parts.begin(), parts.end(), [&](const Part& part) { return part.rank == rank; });
    inputs.push_back(std::move(found->data));
  }
  const Operation& operation = parts.front().operation;
  switch (operation.kind) {
    case Kind::kBarrier:
      break;
    case Kind::kGather: {
      Bytes all;
      all.reserve(inputs.size() * inputs.front().size());
      for (const Bytes& input : inputs) all.insert(all.end(), input.begin(), input.end());
      return std::make_shared<const Bytes>(std::move(all));
    }
    case Kind::kReduce: {
      auto reduced = reduce(std::move(inputs), operation.dtype, operation.op);
      if (!reduced) return tl::unexpected(reduced.error());
      return std::make_shared<const Bytes>(std::move(*reduced));
    }
  }
  return std::make_shared<const Bytes>();
}

void meet(std::vector<Part> parts) {
  Result<SharedBytes> result = [&]() -> Result<SharedBytes> {
    try {
      return combine(parts);
    } catch (const std::bad_alloc&) {
      return make_error(ErrorCode::kResource, "host memory for the result of {} ranks is not available", parts.size());
    }
  }();
  for (const Part& part : parts) part.done(result);
}

SharedBytes number_as_bytes(std::uint64_t number) {
  Bytes bytes(sizeof(number));
  std::memcpy(bytes.data(), &number, sizeof(number));
  return std::make_shared<const Bytes>(std::move(bytes));
}

}  // namespace

std::string enumerate(const std::vector<std::uint32_t>& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ", ranks[i]);
  }
  return text;
}

Hub::Owner Hub::enter(int pid) {
  const std::lock_guard lock(mutex_);
  pids_.emplace(next_owner_, pid);
  return next_owner_++;
}

std::string Hub::name(std::uint32_t rank) const {
  return fmt::format("rank {} (process {})", rank, pids_.at(members_.at(rank).owner));
}

void Hub::leave(Owner owner, const std::string& how) {
  Actions actions;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [rank, member] : members_) {
      if (member.owner != owner) continue;
      end_world(ErrorCode::kPeerLost, fmt::format("{} {}", name(rank), how), actions);
      break;
    }
    pids_.erase(owner);
  }
  for (const auto& action : actions) action();
}

void Hub::handle(Owner owner, Request request, Done done) {
  Actions actions;
  {
    const std::lock_guard lock(mutex_);
    switch (request.type) {
      case Request::Type::kJoin:
        join(owner, std::move(request), std::move(done), actions);
        break;
      case Request::Type::kOperation:
        contribute(owner, std::move(request), std::move(done), actions);
        break;
      case Request::Type::kGiveUp:
        give_up(owner, request.id, request.waited_s, actions);
        break;
    }
  }
  for (const auto& action : actions) action();
}

void Hub::join(Owner owner, Request request, Done done, Actions& actions) {
  const auto refuse = [&](const Error& error) { actions.emplace_back([done, error] { done(tl::unexpected(error)); }); };
  if (request.count == 0 || request.count > kMaxRanks || request.rank >= request.count) {
    return refuse(
        {ErrorCode::kInvalidArgument, fmt::format("rank {} of {} joins, expected a rank below a number of 1 to {}",
                                                  request.rank, request.count, kMaxRanks)});
  }
  if (!members_.empty() && request.count != count_) {
    const std::string text =
        fmt::format("rank {} (process {}) says that there are {} ranks, {} says {}; expected the same number",
                    request.rank, pids_.at(owner), request.count, name(members_.begin()->first), count_);
    refuse({ErrorCode::kInvalidArgument, text});
    if (!formed_) end_world(ErrorCode::kInvalidArgument, text, actions);  // nobody knows who is right
    return;
  }
  if (members_.contains(request.rank)) {
    return refuse({ErrorCode::kInvalidArgument, fmt::format("{} has joined already; expected another one of 0 to {}",
                                                            name(request.rank), count_ - 1)});
  }
  count_ = request.count;
  members_.emplace(request.rank, Member{owner, request.id, std::move(done)});
  if (members_.size() < count_) return;
  formed_ = true;
  for (auto& [rank, member] : members_) {
    actions.emplace_back([joined = std::move(member.done), world = world_] { joined(number_as_bytes(world)); });
    member.done = nullptr;
  }
}

void Hub::contribute(Owner owner, Request request, Done done, Actions& actions) {
  const auto refuse = [&](ErrorCode code, std::string text) {
    actions.emplace_back([done, error = Error{code, std::move(text)}] { done(tl::unexpected(error)); });
  };
  if (!formed_ || request.world != world_) return refuse(ErrorCode::kPeerLost, ended_);
  const auto self = members_.find(request.rank);
  if (self == members_.end() || self->second.owner != owner) {
    return refuse(ErrorCode::kInvalidArgument, fmt::format("rank {} is not one of the process", request.rank));
  }
  std::vector<std::uint32_t> ranks = request.operation.group;
  std::sort(ranks.begin(), ranks.end());
  if (ranks.empty() || std::adjacent_find(ranks.begin(), ranks.end()) != ranks.end() || ranks.back() >= count_ ||
      !std::binary_search(ranks.begin(), ranks.end(), request.rank)) {
    return refuse(
        ErrorCode::kInvalidArgument,
        fmt::format("the group of rank {} is {}, expected different ranks from 0 to {} with itself among them",
                    request.rank, ranks.empty() ? "empty" : enumerate(request.operation.group), count_ - 1));
  }
  const Meeting meeting{request.operation.lane, std::move(ranks)};
  auto& waiting = meetings_[meeting];
  waiting[request.rank].push_back(
      {request.id, owner, std::move(request.operation), std::move(request.data), std::move(done)});
  if (waiting.size() < meeting.second.size()) return;
  auto parts = std::make_shared<std::vector<Part>>();
  for (auto next = waiting.begin(); next != waiting.end();) {
    Contribution& part = next->second.front();
    parts->push_back({next->first, std::move(part.operation), std::move(part.data), std::move(part.done)});
    next->second.pop_front();
    next = next->second.empty() ? waiting.erase(next) : std::next(next);
  }
  if (waiting.empty()) meetings_.erase(meeting);
  actions.emplace_back([parts] { meet(std::move(*parts)); });
}

void Hub::give_up(Owner owner, std::uint64_t id, std::uint32_t waited_s, Actions& actions) {
  for (auto& [rank, member] : members_) {
    if (member.owner != owner || member.join != id || formed_) continue;
    std::vector<std::uint32_t> missing;
    for (std::uint32_t other = 0; other < count_; ++other) {
      if (!members_.contains(other)) missing.push_back(other);
    }
    actions.emplace_back(
        [joining = std::move(member.done),
         error = Error{ErrorCode::kTimeout,
                       fmt::format("rank {} of {} has waited for {} s: rank {} {} not joined", rank, count_, waited_s,
                                   enumerate(missing), missing.size() == 1 ? "has" : "have")}] {
          joining(tl::unexpected(error));
        });
    members_.erase(rank);
    return;
  }
  for (const auto& [meeting, waiting] : meetings_) {
    for (const auto& [rank, queue] : waiting) {
      for (std::size_t i = 0; i < queue.size(); ++i) {
        if (queue[i].owner != owner || queue[i].id != id) continue;
        std::vector<std::uint32_t> missing;
        for (const std::uint32_t other : meeting.second) {
          const auto found = waiting.find(other);
          if (found == waiting.end() || found->second.size() <= i) missing.push_back(other);
        }
        return end_world(ErrorCode::kPeerLost,
                         fmt::format("{} has waited for {} s with {}: rank {} {} not come", name(rank), waited_s,
                                     describe(queue[i].operation, queue[i].data.size()), enumerate(missing),
                                     missing.size() == 1 ? "has" : "have"),
                         actions);
      }
    }
  }
  // Otherwise its answer was on the way.
}

void Hub::end_world(ErrorCode code, const std::string& reason, Actions& actions) {
  const Error error{code, reason};
  for (auto& [rank, member] : members_) {
    if (member.done) actions.emplace_back([done = std::move(member.done), error] { done(tl::unexpected(error)); });
  }
  for (auto& [meeting, waiting] : meetings_) {
    for (auto& [rank, queue] : waiting) {
      for (Contribution& part : queue) {
        actions.emplace_back([done = std::move(part.done), error] { done(tl::unexpected(error)); });
      }
    }
  }
  members_.clear();
  meetings_.clear();
  formed_ = false;
  ended_ = reason;
  ++world_;
}

}  // namespace opennrt::collectives
