// The tangent sweep of a group: how values, scores and weights change along a direction. Linear in the weights that the
// forward sweep has kept; cells in its order.
#pragma once

#include "../../recurrence/masses.h"
#include "directed.h"

namespace softdp::cpu {

template <class Family, class T>
class Tangent {
 public:
  using Topology = typename Family::Topology;
  using Word = typename StoredWeights<T>::Word;
  using Members = Directed<Family, T, true>;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kStates = Topology::kStates;
  static constexpr int kPlaces = softdp::kPlaces<Topology>;
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  const Members members;
  const Group<Family, T>& group = members.group;

  // concurrent: strips are swept side by side, and each has to remember where it is.
  Tangent(const Members& its_members, const Kept<T>& kept, const Outputs<T>& outputs, bool concurrent)
      : members(its_members), kept_(kept), outputs_(outputs), strips_(concurrent ? group.strips : 1) {
    for (int p = 0; p < group.count; ++p) gamma_changes_ = gamma_changes_ || !(members.gamma(p).tangent == 0);
    lay_border();
  }

  // Steps [first, last) of a strip, as far as they are in its range. The strip above must be `rows` steps ahead.
  // changes: of the weights, or null where nobody asks.
  SOFTDP_INLINE void tile(std::int64_t strip, std::int64_t first, std::int64_t last, const Word* weights, T* changes) {
    if (changes != nullptr) {
      gamma_changes_ ? steps<true, true>(strip, first, last, weights, changes)
                     : steps<false, true>(strip, first, last, weights, changes);
    } else {
      gamma_changes_ ? steps<true, false>(strip, first, last, weights, changes)
                     : steps<false, false>(strip, first, last, weights, changes);
    }
  }

 private:
  struct Diagonal {
    Lanes<T> states[kStates];
  };

  struct Strip {
    Diagonal diagonal[3];  // of step t at t % 3
  };

  struct Work {
    typename Members::Staged staged[kTables];
  };

  SOFTDP_INLINE void stage(int k, std::int64_t strip, std::int64_t first, std::int64_t last, Work& work,
                           bool stays) const {
    if (kChangesReadTables<Family> && group.problem.tables[k].one_column == stays)
      group.stage(k, strip, first, last, work.staged[k].values);
    if (members.direction.problem.tables[k].one_column == stays)
      members.direction.stage(k, strip, first, last, work.staged[k].changes);
  }

  template <bool kGamma, bool kKeep>
  SOFTDP_INLINE void steps(std::int64_t strip, std::int64_t first, std::int64_t last, const Word* weights, T* changes) {
    const int pairs = group.pairs, rows = group.rows;
    Strip& values = strips_[strips_.size() > 1 ? strip : 0];
    const Range range = group.range(strip);
    first = std::max(first, range.first);
    last = std::min(last, range.last);
    if (first >= last) return;
    if (first == range.first) begin_strip(strip, range, values);
    const std::int64_t top_row = strip * rows;
    const Range ends = group.ends(strip);
    Work work;
    for (int k = 0; k < kTables; ++k) stage(k, strip, first, last, work, true);
    for (std::int64_t chunk = first; chunk < last; chunk += kChunk) {
      const std::int64_t end = std::min<std::int64_t>(chunk + kChunk, last);
      for (int k = 0; k < kTables; ++k) stage(k, strip, chunk, end, work, false);
      Diagonal* two_ago = &values.diagonal[(chunk + 1) % 3];
      Diagonal* one_ago = &values.diagonal[(chunk + 2) % 3];
      Diagonal* current = &values.diagonal[chunk % 3];
      for (std::int64_t t = chunk; t < end; ++t) {
        Diagonal& now = *current;
        for (int s = 0; s < kStates; ++s) copy_pairs(top_[s].upto(t + 1), now.states[s].upto_lane(0));
        const std::int64_t place = (t - range.first) * kPlaces * kLanes;
        step<kGamma, kKeep>(*two_ago, *one_ago, now, t - chunk, work, weights + place * kWords,
                            kKeep ? changes + place * kWeightTangents : nullptr);
        for (int s = 0; s < kStates; ++s) {
          if (t < rows) copy_pairs(left_[s].from(top_row + 1 + t), now.states[s].from_lane(t * pairs));
          if (t >= rows - 1) copy_pairs(now.states[s].from_lane(kLanes - pairs), top_[s].from(t - rows + 1));
        }
        if (Topology::kEnd != kNoState && ends.first <= t && t < ends.last) {
          for (int p = 0; p < group.count; ++p) {
            const int lane = group.end_lane(strip, t, p);
            if (lane >= 0) score(p, Topology::kEnd, now.states[Topology::kEnd].lane()[lane]);
          }
        }
        if (outputs_.border)
          group.each_end(strip, t, [&](int p, std::int64_t its_place, std::int64_t lane) {
            for (int s = 0; s < kStates; ++s) put_border(p, s, its_place, now.states[s].lane()[lane]);
          });
        current = std::exchange(two_ago, std::exchange(one_ago, current));
      }
    }
    if (last == range.last && group.problem.band && strip + 1 < group.strips)
      forget(range.last - rows + 1, group.range(strip + 1).last + 1);
  }

  template <bool kGamma, bool kKeep>
  SOFTDP_INLINE void step(Diagonal& two_ago, Diagonal& one_ago, Diagonal& now, std::int64_t s, const Work& work,
                          const Word* weights, T* changes) const {
    const T* from[kSteps][kStates];
    T* to[kStates];
    for (int state = 0; state < kStates; ++state) {
      from[kDiagonal][state] = two_ago.states[state].lane() - group.pairs;
      from[kAbove][state] = one_ago.states[state].lane() - group.pairs;
      from[kLeft][state] = one_ago.states[state].lane();
      to[state] = now.states[state].lane();
    }
    const Family family = group.problem.family;
    typename Members::At staged[kTables];
    for (int k = 0; k < kTables; ++k) staged[k] = members.at(k, work.staged[k], s);
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      Dual<T> values[kTables], parameters[kParameters + 1] = {};
      unrolled<kTables>([&](auto k) SOFTDP_INLINE_LAMBDA {
        values[k] = {kChangesReadTables<Family> ? staged[k].values[l] : T(0), staged[k].changes[l]};
      });
      for (int k = 0; k < kParameters; ++k) parameters[k] = members.parameter(k, l);
      const Potentials<Family, T> arcs = potential_changes(family, values, parameters, members.gamma(l));
      Change<T> cells[kStates];
      unrolled<kStates>([&](auto state) SOFTDP_INLINE_LAMBDA {
        T sources[3];
        unrolled<3>([&](auto k) SOFTDP_INLINE_LAMBDA {
          constexpr Arc arc = Topology::kArcs[state][k];
          sources[k] = T(0);
          if constexpr (arc.step < kSteps) sources[k] = from[arc.step][arc.state][l];
          if constexpr (arc.step == kHere) sources[k] = cells[arc.state].value;
          if constexpr (arc.potential != kUnpaid) sources[k] += arcs[arc.potential];
        });
        constexpr Place place = place_of<Topology>(state);
        const Word* own = weights + place.at * kWords * kLanes + l;
        const Arcs<T> q = StoredWeights<T>::template share<place.fractions>(own, kLanes, T(1));
        cells[state] = change_of_cell<kGamma>(q, {sources[0], sources[1], sources[2]}, members.direction.gamma[l],
                                              group.scale[l] * kLog2<T>);
        to[state][l] = cells[state].value;
      });
      if constexpr (kKeep) {
        unrolled<kPlaces>([&](auto place) SOFTDP_INLINE_LAMBDA {
          T first = 0, second = 0;
          changes_in_place<Topology, place>(cells, first, second);
          changes[place * kWeightTangents * kLanes + l] = first;
          changes[(place * kWeightTangents + 1) * kLanes + l] = second;
        });
      }
    }
  }

  // The two diagonals before the first: of the border, where they meet it.
  SOFTDP_APART void begin_strip(std::int64_t strip, Range range, Strip& values) {
    for (int s = 0; s < kStates; ++s) {
      for (std::int64_t t = range.first - 2; t < range.first; ++t) {
        Lanes<T>& lanes = values.diagonal[(t + 3) % 3].states[s];
        if (group.problem.band) std::fill_n(lanes.lane(), kLanes, T(0));
        copy_pairs(top_[s].upto(t + 1), lanes.upto_lane(0));
        if (t >= 0 && t < group.rows)
          copy_pairs(left_[s].from(strip * group.rows + 1 + t), lanes.from_lane(t * group.pairs));
      }
    }
    if (group.problem.band && strip + 1 < group.strips)
      forget(group.range(strip + 1).first - 1, range.first - group.rows + 1);
  }

  // No path leads to these columns of the row that is handed on.
  SOFTDP_APART void forget(std::int64_t first, std::int64_t last) {
    for (int s = 0; s < kStates; ++s)
      for (std::int64_t column = std::max<std::int64_t>(first, 0); column < last; ++column)
        for (int p = 0; p < group.pairs; ++p) top_[s].at(column, p) = 0;
  }

  bool minimises() const { return group.problem.family.minimise; }

  void score(int p, int state, double change) const {
    if (state == Topology::kEnd && state != kNoState) {
      const T of_score = T(score_of_value(change, minimises()));
      outputs_.scores[group.pair[p]] = seed(kept_.scores[group.pair[p]], of_score, minimises());
    }
  }

  void put_border(int p, int state, std::int64_t place, double change) const {
    if (!outputs_.border) return;
    const std::int64_t at = (group.pair[p] * kStates + state) * group.problem.border_length() + place;
    outputs_.border[at] = seed(kept_.border[at], score_of_value(change, minimises()), minimises());
  }

  void lay_border() {
    for (int s = 0; s < kStates; ++s) {
      left_[s].reset(group.n_max + group.rows + 1, group.pairs, T(0));
      top_[s].reset(group.m_max + group.rows + 2, group.pairs, T(0));
    }
    for (int p = 0; p < group.count; ++p) {
      const std::int64_t n = group.n[p], m = group.m[p], first_of_right = group.problem.m;
      score(p, Topology::kEnd, 0);  // if a path leads to the last cell, it says better
      for (int s = 0; s < kStates; ++s) {
        each_on_side(p, s, false, [&](std::int64_t j, double change) {
          top_[s].at(j, p) = T(change);
          if (n > 0) return;
          put_border(p, s, j, change);
          if (j == m) score(p, s, change);
        });
        each_on_side(p, s, true, [&](std::int64_t i, double change) {
          left_[s].at(i, p) = T(change);
          if (i > 0 && i == n) put_border(p, s, 0, change);
          if (i == 0 || m > 0) return;
          put_border(p, s, first_of_right + i, change);
          if (i == n) score(p, s, change);
        });
      }
    }
  }

  // Calls f(place, change) for a pair's border in one state, from the corner on: down the first column or along the
  // first row.
  template <class F>
  void each_on_side(int p, int state, bool down, const F& f) const {
    const std::int64_t length = down ? group.n[p] : group.m[p];
    const double* given = members.direction.problem.border;
    if (given) given += (group.pair[p] * kStates + state) * group.problem.border_length();
    const Gaps gaps = down ? group.problem.ends.leading_x : group.problem.ends.leading_y;
    const LeadingGap gap = down ? Topology::kDown : Topology::kAcross;
    const bool paid = !group.problem.border && gaps == Gaps::kPaid && state == gap.state;
    double change = 0;
    for (std::int64_t place = 0; place <= length; ++place) {
      if (given) {
        change = value_of_score(given[down && place > 0 ? group.problem.m + place : place], minimises());
      } else if (paid && place > 0) {
        Dual<T> values[kTables], numbers[kParameters + 1];
        members.border_inputs(p, down ? place : 0, down ? 0 : place, values, numbers);
        change += potential_changes(group.problem.family, values, numbers,
                                    members.gamma(p))[place == 1 ? gap.first : gap.next];
      }
      f(place, change);
    }
  }

  Kept<T> kept_;
  Outputs<T> outputs_;
  bool gamma_changes_ = false;
  Line<T> top_[kStates], left_[kStates];
  Memory<Strip> strips_;
};

}  // namespace softdp::cpu
