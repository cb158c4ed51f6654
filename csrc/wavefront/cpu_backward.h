// The backward sweep of a group: linear in the weights that the forward sweep has kept, the same for every family but
// for what the masses on the arcs are to the tables.
#pragma once

#include "../recurrence/masses.h"
#include "cpu_gradients.h"

namespace softdp::cpu {

template <class Family, class T>
class Backward {
 public:
  using Word = typename StoredWeights<T>::Word;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  const Group<Family, T> group;

  // concurrent: strips are swept side by side, and each has to remember where it is.
  Backward(const Group<Family, T>& its_group, const T* scores, const T* score_gradients,
           const Gradients<Family, T>& gradients, bool concurrent)
      : group(its_group), sums_(group, gradients), strips_(concurrent ? group.strips : 1) {
    for (int p = 0; p < group.count; ++p) {
      const T value = group.problem.family.minimise ? -scores[group.pair[p]] : scores[group.pair[p]];
      // No path, no gradient; an undefined score has an undefined one.
      seed_[p] = value == -kInfinity<T> ? T(0) : value != value ? value : score_gradients[group.pair[p]];
    }
    top_.reset(group.m_max + group.rows + 2, group.pairs, T(0));
    left_.reset(group.n_max + group.rows + 1, group.pairs, T(0));
  }

  // Steps [first, last) of a strip, 0 <= first, from the last to the first. The strip below must be `rows` steps ahead.
  // kNumbers: gamma or a parameter has a gradient too.
  template <bool kNumbers>
  SOFTDP_INLINE void tile(std::int64_t strip, std::int64_t first, std::int64_t last, const Word* weights) {
    const int rows = group.rows;
    const Steps ends = group.ends(strip);
    Strip& masses = strips_[strips_.size() > 1 ? strip : 0];
    if (last == group.steps) masses = {};
    Work work;
    if constexpr (kNumbers) std::copy_n(masses.numbers[0], (kParameters + 1) * kLanes, work.numbers[0]);
    for (std::int64_t end = last; end > first; end -= kChunk) {
      const std::int64_t chunk = std::max<std::int64_t>(end - kChunk, first);
      if constexpr (Family::kFlowReadsTables)
        for (int k = 0; k < kTables; ++k) group.stage(k, strip, chunk, end, work.staged[k]);
      Masses* now = &masses.diagonal[(end + 2) % 3];
      Masses* one_later = &masses.diagonal[end % 3];
      Masses* two_later = &masses.diagonal[(end + 1) % 3];
      for (std::int64_t t = end - 1; t >= chunk; --t) {
        if (t >= rows - 1) {
          copy_pairs(top_.from(t - rows + 1), one_later->remove.from_lane(kLanes));
        } else {
          std::fill_n(one_later->remove.from_lane(kLanes), kMaxPairs, T(0));
        }
        if (ends.first <= t && t < ends.last) {
          for (int p = 0; p < group.count; ++p) {
            const int lane = group.end_lane(strip, t, p);
            if (lane >= 0) one_later->insert.lane()[lane] += seed_[p];
          }
        }
        send_above(t + 1, *two_later, *one_later);
        if (t < rows) arrive_at_border(strip, t, *two_later, *one_later);
        const Word* weights_now = weights + (std::max<std::int64_t>(t, 1) - 1) * kWords * kLanes;
        step<kNumbers>(*two_later, *one_later, *now, t - chunk, weights_now, work);
        now = std::exchange(two_later, std::exchange(one_later, now));
      }
      sums_.keep(strip, chunk, end, work.table_gradients);
    }
    if constexpr (kNumbers) std::copy_n(work.numbers[0], (kParameters + 1) * kLanes, masses.numbers[0]);
    if (first == 0) {
      if constexpr (kNumbers) sums_.keep_numbers(strip, masses.numbers);
      send_above(0, masses.diagonal[1], masses.diagonal[0]);
    }
  }

  void end() {
    if (group.problem.leading_gaps == LeadingGaps::kPaid) pay_border();
    sums_.write();
  }

 private:
  // The masses that leave the cells of a diagonal through their three arcs.
  struct Masses {
    Lanes<T> match, remove, insert;
  };

  struct Strip {
    Masses diagonal[3];                                        // of step t at t % 3
    alignas(64) double numbers[kParameters + 1][kLanes] = {};  // the parameters' and gamma's gradients so far
  };

  struct Work {
    alignas(64) T staged[kTables][kChunk * kLanes];
    alignas(64) T table_gradients[kTables][kChunk * kLanes];
    alignas(64) double numbers[kParameters + 1][kLanes];  // as in Strip
  };

  // Masses that the strip's first row and the border send to the row above it.
  SOFTDP_INLINE void send_above(std::int64_t column, const Masses& two_later, const Masses& one_later) {
    const T* from_diagonal = two_later.match.upto_lane(group.pairs);
    const T* from_below = one_later.remove.upto_lane(group.pairs);
    T above[kMaxPairs];
    for (int p = 0; p < kMaxPairs; ++p) above[p] = from_diagonal[p] + from_below[p];
    copy_pairs(above, top_.upto(column));
  }

  // What the border's cell in row t of a strip is sent goes no further.
  SOFTDP_INLINE void arrive_at_border(std::int64_t strip, std::int64_t t, Masses& two_later, Masses& one_later) {
    T* border = left_.from(strip * group.rows + 1 + t);
    for (int p = 0; p < group.pairs; ++p) {
      const std::int64_t lane = t * group.pairs + p;
      T* arriving[] = {two_later.match.lane() + lane + group.pairs, one_later.remove.lane() + lane + group.pairs,
                       one_later.insert.lane() + lane};
      border[p] = (*arriving[0] + *arriving[1]) + *arriving[2];
      for (T* mass : arriving) *mass = 0;
    }
  }

  template <bool kNumbers>
  SOFTDP_INLINE void step(const Masses& two_later, const Masses& one_later, Masses& now, std::int64_t s,
                          const Word* weights, Work& work) const {  // weights [kWords][kLanes]
    const T* from_diagonal = two_later.match.lane() + group.pairs;
    const T* from_below = one_later.remove.lane() + group.pairs;
    const T* from_right = one_later.insert.lane();
    T* to_match = now.match.lane();
    T* to_remove = now.remove.lane();
    T* to_insert = now.insert.lane();
    const Family family = group.problem.family;
    const T* staged[kTables];
    T* to_tables[kTables];
    for (int k = 0; k < kTables; ++k) {
      staged[k] = work.staged[k] + s * group.step_stride(k);
      to_tables[k] = work.table_gradients[k] + s * kLanes;
    }
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      const auto [arrived, mass] = pass_on(from_diagonal[l], from_below[l], from_right[l], weights + l, kLanes);
      to_match[l] = mass.match;
      to_remove[l] = mass.remove;
      to_insert[l] = mass.insert;
      T values[kTables] = {}, parameters[kParameters + 1] = {}, gradients[kTables], numbers[kParameters + 1] = {};
      if constexpr (Family::kFlowReadsTables)
        for (int k = 0; k < kTables; ++k) values[k] = staged[k][l];
      for (int k = 0; k < kParameters; ++k) parameters[k] = group.parameters[k][l];
      const T to_gamma = family.flow(values, parameters, group.gamma[l], mass, gradients, numbers);
      for (int k = 0; k < kTables; ++k) to_tables[k][l] = gradients[k];
      if constexpr (kNumbers) {
        for (int k = 0; k < kParameters; ++k) work.numbers[k][l] += numbers[k];
        work.numbers[kParameters][l] += to_gamma + arrived * entropy<T>(weights + l, kLanes);
      }
    }
  }

  // Paid leading gaps: what reaches a cell of the border goes on along it to the start.
  void pay_border() {
    for (int p = 0; p < group.count; ++p) {
      double mass = group.m[p] == 0 ? seed_[p] : T(0);
      for (std::int64_t i = group.n[p]; i > 0; --i) {
        mass += left_.at(i, p);
        sums_.keep_border(p, i, 0, {0, T(mass), 0});
      }
      mass = group.n[p] == 0 ? seed_[p] : T(0);
      for (std::int64_t j = group.m[p]; j > 0; --j) {
        mass += top_.at(j, p);
        sums_.keep_border(p, 0, j, {0, 0, T(mass)});
      }
    }
  }

  Sums<Family, T> sums_;
  T seed_[kMaxPairs] = {};
  Line<T> top_, left_;
  std::vector<Strip> strips_;
};

}  // namespace softdp::cpu
