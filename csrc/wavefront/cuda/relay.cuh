// How the strips of long tables follow one another within a launch, from block to block.
//
// Who begins what. A warp takes a ticket for each task. All pairs' first strips have the lowest tickets, then all
// second ones (in the backward sweep the last ones, then those above them): the order in which they can begin. So of
// many pairs hardly a strip waits, as the one before it began a whole round of tickets ago; of few, as many strips as
// there is room for stand one behind another. The strip that a task follows has a lower ticket, so some warp has it
// that runs or has ended, and the lowest ticket that is not done follows nothing that is not. So there is always one
// that goes on, however many blocks there is room for: one alone is enough.
//
// Who sees what. A lane of the strip in front writes the row that is between the two; then come a warp barrier, which
// orders this before what lane 0 does, and lane 0's store_release. Each lane of the strip behind has a wait_until of
// its own see that, and only then begins to copy from the row. Release and acquire make visible to what comes after the
// one what came before the other, in the first warp's other lanes too. Copies of 16 bytes go past L1, where an older
// state of the row may lie; nothing that another block has written in the same launch is read in any other way.
//
// What is read does not depend on who waits how long, so results are the same bits.
#pragma once

#include <climits>

#include "team.cuh"

namespace softdp::cuda {

struct Relay {
  static constexpr int kDone = 2;
  // In global memory, all 0 at the launch; null where no table is long. How many tickets are taken, in the place of
  // two; then of each strip, in how many pieces all lanes are done, [strip][pair].
  int* counters = nullptr;

  static std::int64_t counters_for(std::int64_t pairs, const Plan& plan) {
    return plan.is_long() ? sum(kDone, product({pairs, plan.strips})) : 0;
  }

  // A ticket for the whole warp.
  SOFTDP_DEVICE std::int64_t take() const {
    auto* const tickets = reinterpret_cast<std::int64_t*>(counters);
    return shuffle(thread_index() % kWarp == 0 ? take_ticket(tickets) : 0, 0, kWarp);
  }

  template <class Family, class T>
  SOFTDP_DEVICE int* done_by(const Problem<Family, T>& problem, std::int64_t pair, int strip) const {
    return counters + kDone + strip * problem.batch.count + pair;
  }

  // Waits until another strip of the pair is done with these pieces. seen: what it was known to be done with.
  template <class Family, class T>
  SOFTDP_DEVICE void follow(const Problem<Family, T>& problem, std::int64_t pair, int strip, int pieces,
                            int& seen) const {
    if (seen < pieces) seen = wait_until(done_by(problem, pair, strip), pieces);
  }
};

// Calls f with each team that this thread belongs to, one after another.
template <bool kBackwards, class Work, class F>
SOFTDP_DEVICE void each_team(const Work& work, const F& f) {
  const Plan& plan = work.plan;
  const std::int64_t tasks = plan.is_long() ? work.problem.batch.count * plan.strips : plan.blocks;
  std::int64_t task = plan.is_long() ? work.relay.take() : block_index();
  while (task < tasks) {
    Team team = Team::of<kBackwards>(work.problem, plan, task, work.memory.bytes);
    f(team);
    task = plan.is_long() ? work.relay.take() : tasks;
  }
}

// Takes a team through its strip. A sweep offers pieces() in which columns are swept, begin(first piece) and end() of a
// strip, and sweep(piece) between them. It follows the strip before it in both.
template <bool kBackwards, bool kBand, class Work, class Sweep>
SOFTDP_DEVICE void sweep_strip(const Work& work, Team& team, Sweep& sweep) {
  team.enter<kBand>(work.problem, work.plan);
  Span pieces;
  if constexpr (kBand) {
    pieces = of_warp(sweep.pieces(team.swept));
  } else {
    pieces.last = max_in_warp(team.swept.size() > 0 ? sweep.pieces(team.swept).last : 0);
  }
  const bool hands_on = work.plan.is_long() && team.rows > 0 && (kBackwards ? team.strip > 0 : team.has_below);
  const auto tell = [&](int done) {
    if (hands_on && team.lane == 0) store_release(work.relay.done_by(work.problem, team.pair, team.strip), done);
  };
  sweep.begin(pieces.first);
  warp_barrier();
  for (int piece = pieces.first; piece < pieces.last; ++piece) {
    sweep.sweep(piece);
    warp_barrier();
    tell(piece - 1);  // the last lane is 31 steps behind the first
  }
  tell(INT_MAX);
  sweep.end();
  wait_for_copies<0>();
  warp_barrier();
}

}  // namespace softdp::cuda
