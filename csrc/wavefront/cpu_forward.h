// The forward sweep of a group, over any form of the running value.
#pragma once

#include <atomic>

#include "../recurrence/exact.h"
#include "../recurrence/scaled.h"
#include "../recurrence/weights.h"
#include "cpu_group.h"

namespace softdp::cpu {

// A running value's two numbers, each with others of its kind: `Of<X>` holds many of X.
template <class Form, template <class> class Of>
struct Values {
  static auto first_of(typename Form::Value value) {
    const auto [first, second] = value;
    return first;
  }
  static auto second_of(typename Form::Value value) {
    const auto [first, second] = value;
    return second;
  }
  Of<decltype(first_of({}))> first;
  Of<decltype(second_of({}))> second;
};

template <class X>
using Pointer = X*;

// The values from one place in memory on.
template <class Form>
struct ValuesAt : Values<Form, Pointer> {
  using Value = typename Form::Value;

  SOFTDP_INLINE Value operator[](int l) const { return {this->first[l], this->second[l]}; }
  SOFTDP_INLINE void set(int l, Value value) const {
    const auto [first, second] = value;
    this->first[l] = first;
    this->second[l] = second;
  }
  SOFTDP_INLINE void copy_pairs_to(ValuesAt to) const {
    copy_pairs(this->first, to.first);
    copy_pairs(this->second, to.second);
  }
};

template <class Form>
struct ValueLanes : Values<Form, Lanes> {
  SOFTDP_INLINE ValuesAt<Form> from_lane(std::int64_t l) {
    return {{this->first.from_lane(l), this->second.from_lane(l)}};
  }
  SOFTDP_INLINE ValuesAt<Form> upto_lane(std::int64_t l) {
    return {{this->first.upto_lane(l), this->second.upto_lane(l)}};
  }
};

template <class Form>
struct ValueLine : Values<Form, Line> {
  using Value = typename Form::Value;

  void reset(std::int64_t length, int pairs, Value value) {
    const auto [first, second] = value;
    this->first.reset(length, pairs, first);
    this->second.reset(length, pairs, second);
  }
  void set(std::int64_t place, int pair, Value value) {
    const auto [first, second] = value;
    this->first.at(place, pair) = first;
    this->second.at(place, pair) = second;
  }
  SOFTDP_INLINE ValuesAt<Form> from(std::int64_t place) {
    return {{this->first.from(place), this->second.from(place)}};
  }
  SOFTDP_INLINE ValuesAt<Form> upto(std::int64_t place) {
    return {{this->first.upto(place), this->second.upto(place)}};
  }
};

template <class Family, class T, class Form>
class Forward {
 public:
  using Word = typename StoredWeights<T>::Word;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  static constexpr bool kExact = std::is_same_v<Form, Exact<T>>;

  const Group<Family, T> group;

  // concurrent: strips are swept side by side, and each has to remember where it is.
  Forward(const Group<Family, T>& its_group, T* scores, bool concurrent)
      : group(its_group), scores_(scores), strips_(concurrent ? group.strips : 1) {
    if constexpr (!kExact) {
      reach_ = Form::reach(group.n_max + group.m_max + group.rows);
      for (int p = 0; p < group.count; ++p)
        if (group.gamma[p] == 0) beyond_reach_ = true;
    }
    lay_border();
  }

  // Whether there was something that this form does not reach; scores and weights are worth nothing then.
  bool beyond_reach() const { return beyond_reach_; }

  // Steps [first, last) of a strip, 1 <= first. The strip above must be `rows` steps ahead.
  template <bool kKeepWeights>
  SOFTDP_INLINE void tile(std::int64_t strip, std::int64_t first, std::int64_t last, Word* weights) {
    if (beyond_reach_) return;
    if constexpr (kGapsMayStay) {
      if (!group.gaps_vary()) return steps<kKeepWeights, false>(strip, first, last, weights);
    }
    steps<kKeepWeights, true>(strip, first, last, weights);
  }

 private:
  // Arcs of gaps that do not vary along a row are weighed once for a strip, where some family has such.
  static constexpr bool kGapsMayStay = !kExact && !(Family::kGapTables & 1);

  struct Strip {
    ValueLanes<Form> diagonal[3];  // of step t at t % 3
  };

  // What a tile needs beside the values.
  struct Work {
    alignas(64) T staged[kTables][kChunk * kLanes];
    alignas(64) T dither[kLanes];
    alignas(64) typename Bits<T>::Integer beyond_reach[kLanes] = {};  // whether something in this lane was
    ValueLanes<Form> match, remove, insert;                           // arcs, weighed
  };

  template <bool kKeepWeights, bool kGapsVary>
  SOFTDP_INLINE void steps(std::int64_t strip, std::int64_t first, std::int64_t last, Word* weights) {
    const int pairs = group.pairs, rows = group.rows;
    Strip& values = strips_[strips_.size() > 1 ? strip : 0];
    if (first == 1) begin_strip(strip, values);
    const std::int64_t top_row = strip * rows;
    const Steps ends = group.ends(strip);
    Work work;
    for (int l = 0; l < kLanes; ++l)
      work.dither[l] = StoredWeights<T>::lane_dither(top_row + group.row(l), group.row(l));
    for (int k = 0; k < kTables; ++k)
      if (group.problem.tables[k].one_column) group.stage(k, strip, first, last, work.staged[k]);
    if constexpr (!kGapsVary) weigh<false, true>(work, 0);
    for (std::int64_t chunk = first; chunk < last; chunk += kChunk) {
      const std::int64_t end = std::min<std::int64_t>(chunk + kChunk, last);
      for (int k = 0; k < kTables; ++k)
        if (!group.problem.tables[k].one_column) group.stage(k, strip, chunk, end, work.staged[k]);
      ValueLanes<Form>* two_ago = &values.diagonal[(chunk + 1) % 3];
      ValueLanes<Form>* one_ago = &values.diagonal[(chunk + 2) % 3];
      ValueLanes<Form>* current = &values.diagonal[chunk % 3];
      for (std::int64_t t = chunk; t < end; ++t) {
        ValueLanes<Form>& now = *current;
        top_.upto(t + 1).copy_pairs_to(now.upto_lane(0));
        if constexpr (!kExact) weigh<true, kGapsVary>(work, t - chunk);
        step<kKeepWeights>(*two_ago, *one_ago, now, t - chunk, StoredWeights<T>::step_dither(t), work,
                           kKeepWeights ? weights + (t - 1) * kWords * kLanes : nullptr);
        // Row t is on the border; the rows after it are not in their tables yet.
        if (t < rows) left_.from(top_row + 1 + t).copy_pairs_to(now.from_lane(t * pairs));
        if (t >= rows - 1) now.from_lane(kLanes - pairs).copy_pairs_to(top_.from(t - rows + 1));
        if (ends.first <= t && t < ends.last) {
          for (int p = 0; p < group.count; ++p) {
            const int lane = group.end_lane(strip, t, p);
            if (lane >= 0) score(p, Form::value_of(now.from_lane(0)[lane], group.smoothness(p)));
          }
        }
        current = std::exchange(two_ago, std::exchange(one_ago, current));
      }
    }
    for (int l = 0; l < kLanes; ++l)
      if (work.beyond_reach[l]) beyond_reach_ = true;
  }

  SOFTDP_INLINE Arcs<T> potentials(const Family& family, const T* const (&staged)[kTables], int l) const {
    T values[kTables], parameters[kParameters + 1] = {};
    for (int k = 0; k < kTables; ++k) values[k] = staged[k][l];
    for (int k = 0; k < kParameters; ++k) parameters[k] = group.parameters[k][l];
    return family.potentials(values, parameters, group.gamma[l]);
  }

  // All bits, as vector units compare.
  SOFTDP_INLINE static typename Bits<T>::Integer mask(bool flag) { return flag ? ~typename Bits<T>::Integer(0) : 0; }

  // Arcs into the cells of step `s` of the chunk, none of which waits for another cell: in a loop of their own they
  // leave the processor more of the cells' chain to look ahead in.
  template <bool kMatch, bool kGaps>
  SOFTDP_INLINE void weigh(Work& work, std::int64_t s) const {
    const ValuesAt<Form> match = work.match.from_lane(0), remove = work.remove.from_lane(0),
                         insert = work.insert.from_lane(0);
    const Family family = group.problem.family;
    const T reach = reach_;
    const T* staged[kTables];
    for (int k = 0; k < kTables; ++k) staged[k] = work.staged[k] + s * group.step_stride(k);
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      const auto smoothness = group.smoothness(l);
      const Arcs<T> arcs = potentials(family, staged, l);
      typename Bits<T>::Integer beyond = 0;
      if constexpr (kMatch) {
        match.set(l, Form::weigh(arcs.match, smoothness));
        beyond |= mask(Form::beyond_reach(arcs.match, smoothness, reach));
      }
      if constexpr (kGaps) {
        remove.set(l, Form::template weigh_gap<Family>(arcs.remove, smoothness));
        insert.set(l, Form::template weigh_gap<Family>(arcs.insert, smoothness));
        if constexpr (!Family::kGapsAreGates) {
          beyond |= mask(Form::beyond_reach(arcs.remove, smoothness, reach));
          beyond |= mask(Form::beyond_reach(arcs.insert, smoothness, reach));
        }
      }
      work.beyond_reach[l] |= beyond;
    }
  }

  // The values of a diagonal and the weights of its cells, from the two diagonals before it.
  template <bool kKeepWeights>
  SOFTDP_INLINE void step(ValueLanes<Form>& two_ago, ValueLanes<Form>& one_ago, ValueLanes<Form>& now, std::int64_t s,
                          T step_dither, Work& work, Word* weights) const {  // [kWords][kLanes]
    const ValuesAt<Form> diagonal = two_ago.from_lane(-group.pairs), above = one_ago.from_lane(-group.pairs);
    const ValuesAt<Form> left = one_ago.from_lane(0), value = now.from_lane(0);
    const ValuesAt<Form> match = work.match.from_lane(0), remove = work.remove.from_lane(0),
                         insert = work.insert.from_lane(0);
    const Family family = group.problem.family;
    const T* staged[kTables];
    for (int k = 0; k < kTables; ++k) staged[k] = work.staged[k] + s * group.step_stride(k);
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      const auto smoothness = group.smoothness(l);
      Arcs<typename Form::Arc> arcs;
      if constexpr (kExact) {
        const Arcs<T> each = potentials(family, staged, l);
        arcs = {Form::weigh(each.match, smoothness), Form::template weigh_gap<Family>(each.remove, smoothness),
                Form::template weigh_gap<Family>(each.insert, smoothness)};
      } else {
        arcs = {match[l], remove[l], insert[l]};
      }
      const auto cell = Form::step(diagonal[l], above[l], left[l], arcs, smoothness);
      value.set(l, cell.value);
      if constexpr (kKeepWeights) {
        const T dither = StoredWeights<T>::dither(work.dither[l], step_dither);
        StoredWeights<T>::store(weights + l, kLanes, cell.weights, dither);
      }
    }
  }

  void score(int p, T value) const {
    scores_[group.pair[p]] = group.problem.family.minimise ? T(0) - value : value;  // 0 and not -0
  }

  void begin_strip(std::int64_t strip, Strip& values) {
    top_.upto(0).copy_pairs_to(values.diagonal[2].upto_lane(0));  // step -1
    ValueLanes<Form>& zero = values.diagonal[0];
    top_.upto(1).copy_pairs_to(zero.upto_lane(0));
    left_.from(strip * group.rows + 1).copy_pairs_to(zero.from_lane(0));
  }

  // ---- the border ----

  void lay_border() {
    const LeadingGaps leading_gaps = group.problem.leading_gaps;
    const auto value = leading_gaps == LeadingGaps::kForbidden ? Form::no_path() : Form::origin();
    left_.reset(group.n_max + group.rows + 1, group.pairs, value);
    top_.reset(group.m_max + group.rows + 2, group.pairs, value);
    for (int p = 0; p < group.count; ++p) {
      const std::int64_t n = group.n[p], m = group.m[p];
      T last = leading_gaps == LeadingGaps::kForbidden && n + m > 0 ? -kInfinity<T> : T(0);
      left_.set(0, p, Form::origin());
      top_.set(0, p, Form::origin());
      if (leading_gaps == LeadingGaps::kPaid) {
        const T down = pay(left_, p, n, [&](std::int64_t i) { return border_potentials(p, i, 0).remove; });
        const T right = pay(top_, p, m, [&](std::int64_t j) { return border_potentials(p, 0, j).insert; });
        last = n > 0 ? down : right;
      }
      if (n == 0 || m == 0) score(p, last);
    }
  }

  // Lays the sums of potential(1), ..., potential(length) along a line; returns the last.
  template <class Potential>
  T pay(ValueLine<Form>& line, int p, std::int64_t length, const Potential& potential) {
    const auto smoothness = group.smoothness(p);
    TwoFloat<T> sum{T(0), T(0)};
    for (std::int64_t place = 1; place <= length; ++place) {
      const T next = Exact<T>::template weigh_gap<Family>(potential(place), smoothness);
      if (Form::beyond_reach(next, smoothness, reach_)) beyond_reach_ = true;
      sum = normalise(add(sum, next));
      line.set(place, p, Form::from(sum, smoothness));
    }
    return sum.high;
  }

  Arcs<T> border_potentials(int p, std::int64_t i, std::int64_t j) const {
    T values[kTables], parameters[kParameters + 1];
    group.border_inputs(p, i, j, values, parameters);
    return group.problem.family.potentials(values, parameters, group.gamma[p]);
  }

  T* scores_;  // [batch]
  T reach_ = 0;
  std::atomic<bool> beyond_reach_ = false;  // never back to false
  ValueLine<Form> top_, left_;
  Memory<Strip> strips_;
};

}  // namespace softdp::cpu
