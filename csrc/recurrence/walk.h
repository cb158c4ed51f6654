// A path through a table, from the cell in which it ends back to where it begins: in each cell along an arc that is
// chosen by its weight, which is how likely a path that has come so far has come by it. Of the linear topology.
#pragma once

#include "ends.h"
#include "random.h"
#include "topologies/linear.h"
#include "weights.h"

namespace softdp {

// The arcs in the order of Linear; no arc: where there is no path.
enum class Taken : std::int64_t { kNone = -1, kMatch, kRemove, kInsert };
static_assert(int(Taken::kMatch) == Linear::kMatch && int(Taken::kRemove) == Linear::kRemove &&
              int(Taken::kInsert) == Linear::kInsert);

// The weights of a cell as they are stored: running sums, in units of which a cell has `all`.
template <class T>
struct Chances {
  T remove, remove_and_insert, all;

  // The first largest.
  SOFTDP_INLINE Taken likeliest() const {
    const T match = all - remove_and_insert, insert = remove_and_insert - remove;
    return match >= remove && match >= insert ? Taken::kMatch : remove >= insert ? Taken::kRemove : Taken::kInsert;
  }
  // By a number from 0 to below `all`: none whose weight is 0.
  SOFTDP_INLINE Taken at(T drawn) const {
    return drawn < remove ? Taken::kRemove : drawn < remove_and_insert ? Taken::kInsert : Taken::kMatch;
  }
};

template <class T>
struct StoredChances;

template <>
struct StoredChances<float> {
  SOFTDP_INLINE static Chances<std::int32_t> of(const std::uint32_t* words, std::int64_t /*stride*/) {
    return {std::int32_t(*words & 0xffffu), std::int32_t(*words >> 16), 65535};
  }
  SOFTDP_INLINE static std::int32_t drawn(const Philox& random) {
    return std::int32_t(std::uint64_t(random.words[0]) * 65535u >> 32);
  }
};

template <>
struct StoredChances<double> {
  SOFTDP_INLINE static Chances<double> of(const double* words, std::int64_t stride) {
    return {words[0], words[stride], 1.0};
  }
  SOFTDP_INLINE static double drawn(const Philox& random) {
    const std::uint64_t bits = std::uint64_t(random.words[0]) << 32 | random.words[1];
    return double(bits >> 11) * 0x1p-53;
  }
};

// What paths are drawn by; without seeds each takes the likeliest arcs.
struct Draw {
  const std::int64_t* seeds;  // [pair], or null

  // Of the step-th arc from the end of a pair's path.
  template <class T>
  SOFTDP_INLINE Taken choose(const typename StoredWeights<T>::Word* words, std::int64_t stride, std::int64_t pair,
                             std::int64_t path, std::int64_t step) const {
    const auto chances = StoredChances<T>::of(words, stride);
    if (seeds == nullptr) return chances.likeliest();
    const auto path_number = std::uint64_t(path);
    return chances.at(
        StoredChances<T>::drawn(Philox::of(std::uint32_t(step), std::uint32_t(path_number),
                                           std::uint32_t(path_number >> 32), 0, std::uint64_t(seeds[pair]))));
  }
};

// Where a path of at most `most` steps goes, in the order of its steps: the cells (from 0; -1 beside a sequence that
// has not begun) that its arcs lead into, and the arcs. What is left of both is -1.
struct Path {
  std::int64_t* cells;  // [most][2]
  std::int64_t* arcs;   // [most]
  std::int64_t most;
  std::int64_t steps;  // so far, written from the end

  SOFTDP_INLINE void put(Taken arc, std::int64_t i, std::int64_t j) { set(most - ++steps, std::int64_t(arc), i, j); }

  // To the front, as it has been written to its end.
  SOFTDP_INLINE std::int64_t close() {
    const std::int64_t behind = most - steps;
    for (std::int64_t k = 0; behind > 0 && k < most; ++k) {
      const std::int64_t from = k + behind;
      if (k < steps) {
        set(k, arcs[from], cells[2 * from], cells[2 * from + 1]);
      } else {
        set(k, -1, -1, -1);
      }
    }
    return steps;
  }

 private:
  SOFTDP_INLINE void set(std::int64_t at, std::int64_t arc, std::int64_t i, std::int64_t j) {
    arcs[at] = arc;
    cells[2 * at] = i;
    cells[2 * at + 1] = j;
  }
};

// Walks back from cell (i, j), counted from 1, of a table whose border is row and column 0. arc(i, j, step): the arc
// that is taken into a cell. A path that comes to the border goes on along it where gaps are paid, and begins there
// where they are free; one that does not come to a beginning is none, and has no steps.
template <class ArcAt>
SOFTDP_INLINE void walk_back(std::int64_t i, std::int64_t j, const Ends& ends, const ArcAt& arc_into, Path& path) {
  bool leads_on = i >= 0 && j >= 0;
  while (leads_on && i > 0 && j > 0) {
    const Taken arc = arc_into(i, j, path.steps);
    leads_on = arc != Taken::kNone;
    if (!leads_on) break;
    path.put(arc, i - 1, j - 1);
    i -= arc != Taken::kInsert;
    j -= arc != Taken::kRemove;
  }
  const Gaps gaps = i > 0 ? ends.leading_x : ends.leading_y;
  leads_on = leads_on && ((i == 0 && j == 0) || gaps != Gaps::kForbidden);
  if (leads_on && gaps == Gaps::kPaid) {
    for (; i > 0; --i) path.put(Taken::kRemove, i - 1, -1);
    for (; j > 0; --j) path.put(Taken::kInsert, -1, j - 1);
  }
  if (!leads_on) path.steps = 0;
}

// Which paths are asked for, and where they go.
template <class T>
struct Walks {
  const T* scores;            // [pair]: there are no paths where it says so, and the weights say anything
  bool minimise;              // what scores are of
  const std::int64_t* cells;  // [pair][of_pair][2]: where they end, counted from 1; or null: in the last cell
  std::int64_t of_pair;
  Draw draw;
  std::int64_t most;                   // n + m
  std::int64_t* path_cells = nullptr;  // [pair][of_pair][most][2]
  std::int64_t* arcs = nullptr;        // [pair][of_pair][most]
  std::int64_t* steps = nullptr;       // [pair][of_pair]

  // The k-th path of a pair of these lengths. words_of(i, j, &stride): the weights of a cell, null if there are none.
  template <class WordsOf>
  SOFTDP_INLINE void walk(std::int64_t pair, std::int64_t k, std::int64_t n, std::int64_t m, const Ends& ends,
                          const WordsOf& words_of) const {
    const std::int64_t at = pair * of_pair + k;
    std::int64_t i = cells ? cells[2 * at] : n, j = cells ? cells[2 * at + 1] : m;
    const bool has_paths = value_of_score(scores[pair], minimise) > -kInfinity<T>;  // nor if it is no number
    if (!has_paths || i > n || j > m) i = j = -1;
    Path path{path_cells + 2 * at * most, arcs + at * most, most, 0};
    walk_back(
        i, j, ends,
        [&](std::int64_t row, std::int64_t column, std::int64_t step) {
          std::int64_t stride = 0;
          const auto* words = words_of(row, column, stride);
          return words == nullptr ? Taken::kNone : draw.choose<T>(words, stride, pair, k, step);
        },
        path);
    steps[at] = path.close();
  }
};

}  // namespace softdp
