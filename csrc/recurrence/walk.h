// A path through a table, from the cell in which it ends back to where it begins: in each cell along an arc that is
// chosen by its weight, which is how likely a path that has come so far has come by it.
#pragma once

#include <utility>

#include "ends.h"
#include "random.h"
#include "topologies/topology.h"
#include "weights.h"

namespace softdp {

// Which of the arcs into a state is taken; none: where there is no path.
constexpr int kNoArc = -1;

template <class Topology, std::size_t place>
constexpr Arc arc_in_place() {
  return Topology::kArcs[place / 3][place % 3];
}

// The k-th arc into a state, both of which are known when it is asked for.
template <class Topology>
SOFTDP_INLINE Arc arc_into(int state, int k) {
  return [&]<std::size_t... place>(std::index_sequence<place...>) {
    Arc found{};
    ((found = std::size_t(state * 3 + k) == place ? arc_in_place<Topology, place>() : found), ...);
    return found;
  }(std::make_index_sequence<3 * Topology::kStates>());
}

// Where the weights of a state are, which is known when it is asked for.
template <class Topology>
SOFTDP_INLINE Place find_place(int state) {
  return [&]<std::size_t... s>(std::index_sequence<s...>) {
    Place found{};
    ((found = std::size_t(state) == s ? std::integral_constant<Place, place_of<Topology>(s)>::value : found), ...);
    return found;
  }(std::make_index_sequence<Topology::kStates>());
}

// The weights of a state as they are stored: running sums, in units of which it has `all`, of its second and third arc.
template <class T>
struct Chances {
  T second, second_and_third, all;

  // The first largest.
  SOFTDP_INLINE int likeliest() const {
    const T first = all - second_and_third, third = second_and_third - second;
    return first >= second && first >= third ? 0 : second >= third ? 1 : 2;
  }
  // By a number from 0 to below `all`: none whose weight is 0.
  SOFTDP_INLINE int at(T drawn) const { return drawn < second ? 1 : drawn < second_and_third ? 2 : 0; }
};

template <class T>
struct StoredChances;

template <>
struct StoredChances<float> {
  SOFTDP_INLINE static Chances<std::int32_t> of(const std::uint32_t* words, std::int64_t /*stride*/,
                                                Fractions fractions) {
    const auto lower = std::int32_t(*words & 0xffffu), upper = std::int32_t(*words >> 16);
    return {fractions == Fractions::kSecond ? upper : lower, fractions == Fractions::kFirst ? lower : upper, 65535};
  }
  SOFTDP_INLINE static std::int32_t drawn(const Philox& random) {
    return std::int32_t(std::uint64_t(random.words[0]) * 65535u >> 32);
  }
};

template <>
struct StoredChances<double> {
  SOFTDP_INLINE static Chances<double> of(const double* words, std::int64_t stride, Fractions fractions) {
    return {words[fractions == Fractions::kSecond ? stride : 0], words[fractions == Fractions::kFirst ? 0 : stride],
            1.0};
  }
  SOFTDP_INLINE static double drawn(const Philox& random) {
    const std::uint64_t bits = std::uint64_t(random.words[0]) << 32 | random.words[1];
    return double(bits >> 11) * 0x1p-53;
  }
};

// What paths are drawn by; without seeds each takes the likeliest arcs.
struct Draw {
  const std::int64_t* seeds;  // [pair], or null

  // The arc-th from the end of a pair's path.
  template <class T>
  SOFTDP_INLINE int choose(const typename StoredWeights<T>::Word* words, std::int64_t stride, Fractions fractions,
                           std::int64_t pair, std::int64_t path, std::int64_t arc) const {
    const auto chances = StoredChances<T>::of(words, stride, fractions);
    if (seeds == nullptr) return chances.likeliest();
    const auto path_number = std::uint64_t(path);
    return chances.at(
        StoredChances<T>::drawn(Philox::of(std::uint32_t(arc), std::uint32_t(path_number),
                                           std::uint32_t(path_number >> 32), 0, std::uint64_t(seeds[pair]))));
  }
};

// Where a path of at most `most` steps goes, in the order of its steps: the cells (from 0; -1 beside a sequence that
// has not begun) that its arcs lead into, and which arcs: the step of each and kSteps times the state it leads into.
// What is left of both is -1.
struct Path {
  std::int64_t* cells;  // [most][2]
  std::int64_t* arcs;   // [most]
  std::int64_t most;
  std::int64_t steps;  // so far, written from the end

  SOFTDP_INLINE void put(Step step, int state, std::int64_t i, std::int64_t j) {
    set(most - ++steps, std::int64_t(step) + kSteps * state, i, j);
  }

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

// Walks back from a state of cell (i, j), counted from 1, of a table whose border is row and column 0. taken(i, j,
// state, arc): which arc into it is, the arc-th so far. A path that comes to the border goes on along it where gaps are
// paid, and begins there where they are free; one that does not come to a beginning is none, and has no steps.
template <class Topology, class Taken>
SOFTDP_INLINE void walk_back(std::int64_t i, std::int64_t j, int state, const Ends& ends, const Taken& taken,
                             Path& path) {
  bool leads_on = i >= 0 && j >= 0;
  for (std::int64_t arcs = 0; leads_on && i > 0 && j > 0; ++arcs) {
    const int k = taken(i, j, state, arcs);
    leads_on = k != kNoArc;
    if (!leads_on) break;
    const Arc arc = arc_into<Topology>(state, k);
    if (arc.step == kBegins) return;
    if (arc.potential != kUnpaid) path.put(arc.step, state, i - 1, j - 1);
    i -= arc.step == kDiagonal || arc.step == kAbove;
    j -= arc.step == kDiagonal || arc.step == kLeft;
    state = arc.state;
  }
  const Gaps gaps = i > 0 ? ends.leading_x : ends.leading_y;
  leads_on = leads_on && ((i == 0 && j == 0) || gaps != Gaps::kForbidden);
  if (leads_on && gaps == Gaps::kPaid) {
    for (; i > 0; --i) path.put(kAbove, Topology::kDown.state, i - 1, -1);
    for (; j > 0; --j) path.put(kLeft, Topology::kAcross.state, -1, j - 1);
  }
  if (!leads_on) path.steps = 0;
}

// Which paths are asked for, and where they go.
template <class T>
struct Walks {
  const T* scores;  // [pair]: there are no paths where it says so, and the weights say anything
  bool minimise;    // what scores are of
  // [pair][of_pair][3]: where they end, counted from 1, and the state there; or null: in the last cell, of one state
  const std::int64_t* cells;
  std::int64_t of_pair;
  Draw draw;
  std::int64_t most;                   // n + m
  std::int64_t* path_cells = nullptr;  // [pair][of_pair][most][2]
  std::int64_t* arcs = nullptr;        // [pair][of_pair][most]
  std::int64_t* steps = nullptr;       // [pair][of_pair]

  // The k-th path of a pair of these lengths. words_of(i, j, place, &stride): a place of a cell's weights, null if
  // there are none.
  template <class Topology, class WordsOf>
  SOFTDP_INLINE void walk(std::int64_t pair, std::int64_t k, std::int64_t n, std::int64_t m, const Ends& ends,
                          const WordsOf& words_of) const {
    const std::int64_t at = pair * of_pair + k;
    std::int64_t i = cells ? cells[3 * at] : n, j = cells ? cells[3 * at + 1] : m;
    const std::int64_t state = cells ? cells[3 * at + 2] : Topology::kEnd;
    const bool has_paths = value_of_score(scores[pair], minimise) > -kInfinity<T>;  // nor if it is no number
    if (!has_paths || i > n || j > m || state < 0 || state >= Topology::kStates) i = j = -1;
    Path path{path_cells + 2 * at * most, arcs + at * most, most, 0};
    walk_back<Topology>(
        i, j, int(state), ends,
        [&](std::int64_t row, std::int64_t column, int in_state, std::int64_t arc) {
          std::int64_t stride = 0;
          const Place place = find_place<Topology>(in_state);
          const auto* words = words_of(row, column, place.at, stride);
          return words == nullptr ? kNoArc : draw.choose<T>(words, stride, place.fractions, pair, k, arc);
        },
        path);
    steps[at] = path.close();
  }
};

}  // namespace softdp
