// How a batch is dealt to threads on a GPU: chosen from shape and card alone. Where the weights lie does not depend on
// it, so that another op finds what a forward sweep has left.
//
// A strip is `lanes` lanes with kRows<T> rows each, walked along the columns one step apart from lane to lane. There
// are two regimes:
//
//   short  n <= 64 (32 in float64): a table is one strip, whose rows a warp exchanges by shuffles alone; 8, 16 or 32
//          lanes a table, several tables a block
//   long   longer: a table is several strips of a whole warp, each a task of its own; a block is one warp, which takes
//          tasks until there are no more. A strip follows the one before it three pieces behind (relay.cuh)
//
// No block barrier, and one launch, in either.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../../recurrence/weights.h"
#include "../size.h"

namespace softdp::cuda {

// Rows of a lane. More rows make fewer shuffles a cell and a longer chain a step, and take more shared memory.
template <class T>
constexpr int kRows = sizeof(T) == 4 ? 2 : 1;
constexpr int kMostRows = 2;

// Steps that the compiler may interleave; two of float64 do not fit the registers.
template <class T>
constexpr int kStepsAtOnce = sizeof(T) == 4 ? 2 : 1;
// The same in full strips.
template <class T>
constexpr int kFullStepsAtOnce = sizeof(T) == 4 ? 4 : 1;

constexpr int kPiece = 16;         // steps between two barriers; columns staged at a time
constexpr int kRing = 4 * kPiece;  // columns of a table in shared memory: 31 behind, 16 now, 16 on the way
constexpr int kThreads = 128;      // most in a block

// Blocks of so many threads that a multiprocessor has registers for: 128 each, or 255 where a cell has several states,
// which take so much shared memory that registers do not decide what fits.
template <class Topology>
constexpr int kBlocksAtOnce = Topology::kStates > 1 ? 2 : 4;

struct Plan {
  int lanes = 32;    // of a strip: 8, 16 or 32
  int in_block = 1;  // strips that a block sweeps at a time; 1 where a table has several
  int strips = 1;    // of a table
  std::int64_t blocks = 0;

  int threads() const { return in_block * lanes; }
  SOFTDP_INLINE bool is_long() const { return strips > 1; }
};

// Lanes of a strip: by n alone, so that the size of the weights depends on nothing else (csrc/ops/weights.cpp).
SOFTDP_INLINE int lanes_for(std::int64_t n, int rows) { return n <= 8 * rows ? 8 : n <= 16 * rows ? 16 : 32; }

// Strips have whole columns in memory, [strip][column][place][word][lane][row]: a strip of one step after another, in
// which the steps that the skew adds at the end fill the places that it leaves empty at the beginning. With a band they
// have those columns that they sweep (band.cuh).
SOFTDP_INLINE std::int64_t strips_for(std::int64_t n, int rows) {
  const std::int64_t strip = std::int64_t(lanes_for(n, rows)) * rows;
  return (n + strip - 1) / strip;
}

// How many words the weights of a strip's column take, and those of a batch without a band.
template <class T>
int weights_per_column(std::int64_t n, int places) {
  return places * StoredWeights<T>::kWords * lanes_for(n, kRows<T>) * kRows<T>;
}
template <class T>
std::int64_t weights_numel(std::int64_t pairs, std::int64_t n, std::int64_t m, int places) {
  return product({pairs, strips_for(n, kRows<T>), m, weights_per_column<T>(n, places)});
}

// shared_per_strip: bytes of shared memory that a strip takes in the greedier sweep; shared_bytes: what a block may
// have, which is what a multiprocessor has for all of its blocks but for what it keeps of each. How many blocks there
// are of long tables does not matter for the results: too few leave some of the card idle, and those that find no room
// begin when others have ended and find no task.
inline Plan plan_for(std::int64_t pairs, std::int64_t n, int rows, std::size_t shared_per_strip,
                     std::size_t shared_bytes, int multiprocessors) {
  constexpr std::size_t kKept = 1024;  // bytes
  constexpr int kMostWarps = 16;       // of a multiprocessor, which has 128 registers for each of their threads
  constexpr int kMostInBlock = 4;      // warps: enough to fill a multiprocessor with several blocks
  Plan plan;
  plan.lanes = lanes_for(n, rows);
  plan.strips = int(std::max<std::int64_t>(1, strips_for(n, rows)));
  const auto room = [&](std::size_t bytes, std::int64_t most) {
    return std::int64_t(std::clamp<std::size_t>(shared_bytes / std::max<std::size_t>(bytes, 1), 1, std::size_t(most)));
  };
  if (plan.is_long()) {
    const std::int64_t at_once = room(shared_per_strip + kKept, kMostWarps) * std::max(1, multiprocessors);
    plan.blocks = std::min(product({pairs, plan.strips}), at_once);
    return plan;
  }
  const int in_warp = 32 / plan.lanes;  // a block has no less; where pairs are few it has fewer warps
  const std::int64_t each = (pairs + multiprocessors - 1) / std::max(1, multiprocessors);
  const std::int64_t wanted = std::clamp<std::int64_t>((each + in_warp - 1) / in_warp, 1, kMostInBlock);
  plan.in_block = int(std::min(wanted, room(shared_per_strip * in_warp, kMostInBlock))) * in_warp;
  plan.blocks = (pairs + plan.in_block - 1) / plan.in_block;
  return plan;
}

}  // namespace softdp::cuda
