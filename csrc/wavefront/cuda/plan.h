// How a batch is dealt to threads on a GPU: chosen from shape and card alone. Where the weights lie does not depend on
// it, so that another op finds what a forward sweep has left.
//
// A strip is `lanes` lanes with kRows<T> rows each, walked along the columns one step apart from lane to lane. A team
// of warps sweeps a group of strips, each warp kHandOn pieces behind the one above it. One plan, three regimes:
//
//   short   n <= 64 (32 in float64): a table is one strip, whose rows a warp exchanges by shuffles alone; 8, 16 or 32
//           lanes a table, several tables a block, no block barrier
//   medium  longer: a block sweeps a table, group after group; strips are handed on through shared memory
//   long    where blocks of whole tables leave so much of the card idle that tiles of groups x columns are a tenth
//           faster by the model: all that lie on one anti-diagonal of tiles in one launch; the launches follow one
//           another in the stream, so no block ever waits for another
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
constexpr int kHandOn = 3;         // pieces that a warp is behind the one above: 31 steps of skew and one barrier
constexpr int kThreads = 256;      // most in a block
constexpr int kTeamWarps = kThreads / 32;  // most in a team
constexpr int kFewestColumns = 128;        // of a tile: in fewer a strip would stand askew for most of its time

struct Plan {
  int lanes = 32;  // of a strip: 8, 16 or 32
  int warps = 1;   // of a team; 1 where a strip has fewer than 32 lanes
  int teams = 1;   // in a block; 1 where a team has several warps
  int groups = 1;  // of warps * lanes * rows rows
  int tiles = 1;   // of `columns` columns
  std::int64_t columns = 0;
  bool tiled = false;  // long: a block sweeps one tile, not one table

  int threads() const { return teams * warps * lanes; }
  SOFTDP_INLINE int group_rows(int lane_rows) const { return warps * lanes * lane_rows; }
  // Launches of a sweep, and the blocks of one of them.
  int launches() const { return tiled ? groups + tiles - 1 : 1; }
  int first_group(int diagonal) const { return std::max(0, diagonal - tiles + 1); }
  int tiles_on(int diagonal) const { return std::min(diagonal, groups - 1) - first_group(diagonal) + 1; }
  std::int64_t blocks(std::int64_t pairs, int diagonal) const {
    return tiled ? product({pairs, tiles_on(diagonal)}) : (pairs + teams - 1) / teams;
  }
};

// Lanes of a strip: by n alone, so that the size of the weights depends on nothing else (csrc/ops/weights.cpp).
SOFTDP_INLINE int lanes_for(std::int64_t n, int rows) { return n <= 8 * rows ? 8 : n <= 16 * rows ? 16 : 32; }

// Strips have whole columns in memory, [strip][column][state][word][lane][row]: a strip of one step after another, in
// which the steps that the skew adds at the end fill the places that it leaves empty at the beginning. With a band they
// have those columns that they sweep (band.cuh).
SOFTDP_INLINE std::int64_t strips_for(std::int64_t n, int rows) {
  const std::int64_t strip = std::int64_t(lanes_for(n, rows)) * rows;
  return (n + strip - 1) / strip;
}

// How many words the weights of a strip's column take, and those of a batch without a band.
template <class T>
int weights_per_column(std::int64_t n, int states) {
  return states * StoredWeights<T>::kWords * lanes_for(n, kRows<T>) * kRows<T>;
}
template <class T>
std::int64_t weights_numel(std::int64_t pairs, std::int64_t n, std::int64_t m, int states) {
  return product({pairs, strips_for(n, kRows<T>), m, weights_per_column<T>(n, states)});
}

// shared_per_strip: bytes of shared memory that a strip takes in the greedier sweep; shared_bytes: what a block may
// have. The model: a piece takes a time of its own whatever else runs, as a lane's chain of cells cannot be shortened,
// until so many warps share a multiprocessor that its four schedulers are full; a launch costs as much as some pieces.
// Its numbers are estimates until they are measured: by the compiled code's schedule a step of two rows takes a warp
// 350 cycles alone (300 backward), in half of which it issues; a launch takes 2.5 microseconds, and the forward sweep
// launches twice (run.cuh).
inline Plan plan_for(std::int64_t pairs, std::int64_t n, std::int64_t m, int rows, std::size_t shared_per_strip,
                     std::size_t shared_bytes, int multiprocessors) {
  constexpr double kLaunch = 3;       // pieces, for both
  constexpr double kWarpsAtOnce = 8;  // warps of a multiprocessor that do not slow one another
  Plan plan;
  plan.lanes = lanes_for(n, rows);
  plan.columns = std::max<std::int64_t>(m, 1);
  const int most_strips = int(std::clamp<std::size_t>(shared_bytes / std::max<std::size_t>(shared_per_strip, 1), 1,
                                                      std::size_t(kThreads / plan.lanes)));
  const std::int64_t strips = std::max<std::int64_t>(1, strips_for(n, rows));
  if (strips == 1) {
    // Four warps a block are enough to fill a multiprocessor with several blocks; fewer where pairs are few.
    const int in_warp = 32 / plan.lanes;
    const std::int64_t each = (pairs + multiprocessors - 1) / std::max(1, multiprocessors);
    const int wanted = int(std::clamp<std::int64_t>((each + in_warp - 1) / in_warp, 1, 4)) * in_warp;
    plan.teams = std::max(in_warp, std::min(wanted, most_strips / in_warp * in_warp));
    return plan;
  }
  const auto pieces = [](std::int64_t columns, int warps) {
    return double((columns + 31 + kPiece - 1) / kPiece + kHandOn * (warps - 1));
  };
  // Blocks that run side by side take turns once their warps fill the card.
  const auto time = [&](double blocks, int warps, double pieces_each) {
    const double at_once = std::max(1.0, double(most_strips) / warps);  // blocks that a multiprocessor's memory holds
    const double rounds = std::max(1.0, blocks * warps / (multiprocessors * kWarpsAtOnce));
    const double waves = std::max(rounds, blocks / (multiprocessors * at_once));
    return std::max(1.0, waves) * pieces_each;
  };
  double best = 0;
  const auto consider = [&](const Plan& candidate, double cost) {
    if (best == 0 || cost < best) {
      best = cost;
      plan = candidate;
    }
  };
  for (int warps = 1; warps <= most_strips && warps <= kTeamWarps; warps *= 2) {
    Plan candidate = plan;
    candidate.tiled = false;
    candidate.tiles = 1;
    candidate.columns = std::max<std::int64_t>(m, 1);
    candidate.warps = int(std::min<std::int64_t>(warps, strips));
    candidate.groups = int((strips + candidate.warps - 1) / candidate.warps);
    consider(candidate, kLaunch + candidate.groups * time(double(pairs), candidate.warps, pieces(m, candidate.warps)));
    for (std::int64_t columns = kFewestColumns; columns < m; columns *= 2) {
      candidate.tiled = true;
      candidate.columns = columns;
      candidate.tiles = int((m + columns - 1) / columns);
      double cost = 0;
      for (int d = 0; d < candidate.launches(); ++d)
        cost += kLaunch + time(double(candidate.blocks(pairs, d)), candidate.warps, pieces(columns, candidate.warps));
      consider(candidate, 1.1 * cost);  // tiles have to be worth it
    }
  }
  return plan;
}

}  // namespace softdp::cuda
