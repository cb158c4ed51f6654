// The forward sweep of a group, over any topology and any form of the running value.
#pragma once

#include <atomic>

#include "../../recurrence/forms/exact.h"
#include "../../recurrence/forms/scaled.h"
#include "../../recurrence/weights.h"
#include "group.h"
#include "values.h"

namespace softdp::cpu {

template <class Family, class T, Form<Family, T> Form>
class Forward {
 public:
  using Topology = typename Family::Topology;
  using Word = typename StoredWeights<T>::Word;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kStates = Topology::kStates;
  static constexpr int kPlaces = softdp::kPlaces<Topology>;
  static constexpr int kPotentials = Topology::kPotentials;
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  static constexpr bool kHard = std::is_same_v<Form, Exact<T, true>>;
  static constexpr bool kExact = kHard || std::is_same_v<Form, Exact<T>>;

  const Group<Family, T> group;

  // concurrent: strips are swept side by side, and each has to remember where it is.
  Forward(const Group<Family, T>& its_group, const Outputs<T>& outputs, bool concurrent)
      : group(its_group), outputs_(outputs), strips_(concurrent ? group.strips : 1) {
    if constexpr (!kExact) {
      reach_ = Form::reach((group.problem.border ? 2 : 1) * (group.n_max + group.m_max + group.rows));
      for (int p = 0; p < group.count; ++p)
        if (group.gamma[p] == 0) beyond_reach_ = true;
    }
    lay_border();
  }

  // Whether there was something that this form does not reach; what was put out is worth nothing then.
  bool beyond_reach() const { return beyond_reach_; }

  // Steps [first, last) of a strip, as far as they are in its range. The strip above must be `rows` steps ahead.
  template <bool kKeepWeights>
  SOFTDP_INLINE void tile(std::int64_t strip, std::int64_t first, std::int64_t last, Word* weights) {
    if (beyond_reach_) return;
    if constexpr (Topology::kMayLackArcs) {
      if (group.problem.masked()) return steps<kKeepWeights, true, true>(strip, first, last, weights);
    }
    if constexpr (kGapsMayStay) {
      if (!group.gaps_vary()) return steps<kKeepWeights, false, false>(strip, first, last, weights);
    }
    steps<kKeepWeights, true, false>(strip, first, last, weights);
  }

 private:
  // Arcs of gaps that do not vary along a row are weighed once for a strip, where some family has such.
  static constexpr bool kGapsMayStay = !kExact && !(Family::kGapTables & 1);

  struct Diagonal {
    ValueLanes<Form> states[kStates];
  };

  struct Strip {
    Diagonal diagonal[3];  // of step t at t % 3
  };

  // What a tile needs beside the values.
  struct Work {
    alignas(64) T staged[kTables][kChunk * kLanes];
    alignas(64) typename StoredWeights<T>::Dither dither[kLanes];
    alignas(64) typename Bits<T>::Integer beyond_reach[kLanes] = {};  // whether something in this lane was
    ValueLanes<Form> arcs[kPotentials];                               // weighed
    Mask<T> mask;
  };

  // kMasked: some cells do not have all arcs.
  template <bool kKeepWeights, bool kGapsVary, bool kMasked>
  SOFTDP_INLINE void steps(std::int64_t strip, std::int64_t first, std::int64_t last, Word* weights) {
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
    for (int l = 0; l < kLanes; ++l)
      work.dither[l] = StoredWeights<T>::lane_dither(top_row + group.row(l), group.row(l));
    if constexpr (kMasked) group.mask(strip, work.mask);
    for (int k = 0; k < kTables; ++k)
      if (group.problem.tables[k].one_column) group.stage(k, strip, first, last, work.staged[k]);
    if constexpr (!kGapsVary) weigh<false, true, false>(work, 0, first);
    for (std::int64_t chunk = first; chunk < last; chunk += kChunk) {
      const std::int64_t end = std::min<std::int64_t>(chunk + kChunk, last);
      for (int k = 0; k < kTables; ++k)
        if (!group.problem.tables[k].one_column) group.stage(k, strip, chunk, end, work.staged[k]);
      Diagonal* two_ago = &values.diagonal[(chunk + 1) % 3];
      Diagonal* one_ago = &values.diagonal[(chunk + 2) % 3];
      Diagonal* current = &values.diagonal[chunk % 3];
      for (std::int64_t t = chunk; t < end; ++t) {
        Diagonal& now = *current;
        for (int s = 0; s < kStates; ++s) top_[s].upto(t + 1).copy_pairs_to(now.states[s].upto_lane(0));
        if constexpr (!kExact) weigh<true, kGapsVary, kMasked>(work, t - chunk, t);
        step<kKeepWeights, kMasked>(*two_ago, *one_ago, now, t - chunk, t, work,
                                    kKeepWeights ? weights + (t - range.first) * kPlaces * kWords * kLanes : nullptr);
        for (int s = 0; s < kStates; ++s) {
          // Row t is on the border; the rows after it are not in their tables yet.
          if (t < rows) left_[s].from(top_row + 1 + t).copy_pairs_to(now.states[s].from_lane(t * pairs));
          if (t >= rows - 1) now.states[s].from_lane(kLanes - pairs).copy_pairs_to(top_[s].from(t - rows + 1));
        }
        if (Topology::kEnd != kNoState && ends.first <= t && t < ends.last) {
          for (int p = 0; p < group.count; ++p) {
            const int lane = group.end_lane(strip, t, p);
            if (lane >= 0) score(p, Topology::kEnd, value_in(now, Topology::kEnd, lane));
          }
        }
        if (outputs_.border) keep_border(strip, t, now);
        current = std::exchange(two_ago, std::exchange(one_ago, current));
      }
    }
    if (last == range.last && group.problem.band) end_strip(strip, range);
    for (int l = 0; l < kLanes; ++l)
      if (work.beyond_reach[l]) beyond_reach_ = true;
  }

  SOFTDP_INLINE Potentials<Family, T> potentials(const Family& family, const T* const (&staged)[kTables], int l) const {
    T values[kTables], parameters[kParameters + 1] = {};
    unrolled<kTables>([&](auto k) SOFTDP_INLINE_LAMBDA { values[k] = staged[k][l]; });
    for (int k = 0; k < kParameters; ++k) parameters[k] = group.parameters[k][l];
    return family.potentials(values, parameters, group.gamma[l]);
  }

  // All bits, as vector units compare.
  SOFTDP_INLINE static typename Bits<T>::Integer mask(bool flag) { return flag ? ~typename Bits<T>::Integer(0) : 0; }

  // Arcs into the cells of step t, the chunk's step `s`, none of which waits for another cell: in a loop of their own
  // they leave the processor more of the cells' chain to look ahead in.
  template <bool kMatch, bool kGaps, bool kMasked>
  SOFTDP_INLINE void weigh(Work& work, std::int64_t s, std::int64_t t) const {
    ValuesAt<Form> arcs[kPotentials];
    for (int k = 0; k < kPotentials; ++k) arcs[k] = work.arcs[k].from_lane(0);
    const Family family = group.problem.family;
    const T reach = reach_;
    const T* staged[kTables];
    for (int k = 0; k < kTables; ++k) staged[k] = work.staged[k] + s * group.step_stride(k);
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      const auto smoothness = group.smoothness(l);
      Potentials<Family, T> each = potentials(family, staged, l);
      if constexpr (kMasked) each = work.mask.template of<Topology>(each, l, t);
      typename Bits<T>::Integer beyond = 0;
      if constexpr (kMatch) {
        arcs[0].set(l, Form::weigh(each[0], smoothness));
        beyond |= mask(Form::beyond_reach(each[0], smoothness, reach));
      }
      if constexpr (kGaps) {
        unrolled<kPotentials - 1>([&](auto before) SOFTDP_INLINE_LAMBDA {
          constexpr int k = before + 1;
          arcs[k].set(l, Form::template weigh_gap<Family>(each[k], smoothness));
          if constexpr (!Family::kGapsAreGates) beyond |= mask(Form::beyond_reach(each[k], smoothness, reach));
        });
      }
      work.beyond_reach[l] |= beyond;
    }
  }

  // The values of a diagonal and the weights of its cells, from the two diagonals before it.
  template <bool kKeepWeights, bool kMasked>
  SOFTDP_INLINE void step(Diagonal& two_ago, Diagonal& one_ago, Diagonal& now, std::int64_t s, std::int64_t t,
                          Work& work, Word* weights) const {  // [kPlaces][kWords][kLanes]
    ValuesAt<Form> from[kSteps][kStates], to[kStates], weighed[kPotentials];
    for (int state = 0; state < kStates; ++state) {
      from[kDiagonal][state] = two_ago.states[state].from_lane(-group.pairs);
      from[kAbove][state] = one_ago.states[state].from_lane(-group.pairs);
      from[kLeft][state] = one_ago.states[state].from_lane(0);
      to[state] = now.states[state].from_lane(0);
    }
    for (int k = 0; k < kPotentials; ++k) weighed[k] = work.arcs[k].from_lane(0);
    const auto step_dither = StoredWeights<T>::step_dither(t);
    const Family family = group.problem.family;
    const T* staged[kTables];
    for (int k = 0; k < kTables; ++k) staged[k] = work.staged[k] + s * group.step_stride(k);
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      const auto smoothness = group.smoothness(l);
      Numbers<typename Form::Arc, kPotentials> arcs;
      if constexpr (kExact) {
        Potentials<Family, T> each = potentials(family, staged, l);
        if constexpr (kMasked) each = work.mask.template of<Topology>(each, l, t);
        arcs[0] = Form::weigh(each[0], smoothness);
        unrolled<kPotentials - 1>([&](auto k) SOFTDP_INLINE_LAMBDA {
          arcs[k + 1] = Form::template weigh_gap<Family>(each[k + 1], smoothness);
        });
      } else {
        unrolled<kPotentials>([&](auto k) SOFTDP_INLINE_LAMBDA { arcs[k] = weighed[k][l]; });
      }
      Cell<typename Form::Value, T> cells[kStates];
      Weights<T> weights_of[kStates];
      unrolled<kStates>([&](auto state) SOFTDP_INLINE_LAMBDA {
        typename Form::Value sources[3];
        typename Form::Arc worth[3];
        unrolled<3>([&](auto k) SOFTDP_INLINE_LAMBDA {
          constexpr Arc arc = Topology::kArcs[state][k];
          if constexpr (arc.step == kHere) {
            sources[k] = cells[arc.state].value;
          } else if constexpr (arc.step < kSteps) {
            sources[k] = from[arc.step][arc.state][l];
          } else {
            sources[k] = arc.step == kBegins ? Form::origin() : Form::no_path();
          }
          if constexpr (arc.potential == kUnpaid) {
            worth[k] = Form::unpaid();
          } else {
            worth[k] = arcs[arc.potential];
          }
        });
        auto& cell = cells[state];
        cell = step_into<Form, Topology, state>(sources, worth, smoothness);
        // A NaN beside a band is handed on to no cell outside, or how far it gets would be up to the other pairs.
        if constexpr (kMasked) cell.value = work.mask.inside(l, t) ? cell.value : Form::no_path();
        to[state].set(l, cell.value);
        weights_of[state] = cell.weights;
      });
      if constexpr (kKeepWeights) {
        const auto dither = StoredWeights<T>::dither(work.dither[l], step_dither);
        unrolled<kPlaces>([&](auto place) SOFTDP_INLINE_LAMBDA {
          StoredWeights<T>::store(weights + place * kWords * kLanes + l, kLanes,
                                  weights_in_place<Topology, place>(weights_of), dither);
        });
      }
    }
  }

  // The two diagonals before the first: of the border, where they meet it.
  SOFTDP_APART void begin_strip(std::int64_t strip, Range range, Strip& values) {
    for (int s = 0; s < kStates; ++s) {
      for (std::int64_t t = range.first - 2; t < range.first; ++t) {
        ValueLanes<Form>& lanes = values.diagonal[(t + 3) % 3].states[s];
        if (group.problem.band)
          for (int l = 0; l < kLanes; ++l) lanes.from_lane(0).set(l, Form::no_path());
        top_[s].upto(t + 1).copy_pairs_to(lanes.upto_lane(0));
        if (t >= 0 && t < group.rows)
          left_[s].from(strip * group.rows + 1 + t).copy_pairs_to(lanes.from_lane(t * group.pairs));
      }
    }
    // Before this strip's first column its last row hands on nothing.
    if (group.problem.band && strip + 1 < group.strips)
      forget(group.range(strip + 1).first - 1, range.first - group.rows + 1);
  }

  SOFTDP_APART void end_strip(std::int64_t strip, Range range) {
    if (strip + 1 < group.strips) forget(range.last - group.rows + 1, group.range(strip + 1).last + 1);
  }

  // No path leads to these columns of the row that is handed on.
  SOFTDP_APART void forget(std::int64_t first, std::int64_t last) {
    for (int s = 0; s < kStates; ++s)
      for (std::int64_t column = std::max<std::int64_t>(first, 0); column < last; ++column)
        for (int p = 0; p < group.pairs; ++p) top_[s].set(column, p, Form::no_path());
  }

  // ---- what is put out ----

  SOFTDP_INLINE double value_in(Diagonal& diagonal, int state, std::int64_t lane) const {
    return Form::value_of(diagonal.states[state].from_lane(0)[lane], group.smoothness(int(lane)));
  }

  SOFTDP_INLINE void score(int p, int state, double value) const {
    if (state == Topology::kEnd && state != kNoState)
      outputs_.scores[group.pair[p]] = T(score_of_value(value, minimises()));
  }

  bool minimises() const { return group.problem.family.minimise; }

  // place: 0, ..., m along the last row, then m + 1, ..., m + n down the last column.
  void put_border(int p, int state, std::int64_t place, double value) const {
    if (!outputs_.border) return;
    outputs_.border[(group.pair[p] * kStates + state) * group.problem.border_length() + place] =
        score_of_value(value, minimises());
  }

  // Values of the last row and of the last column on the diagonal of step t.
  void keep_border(std::int64_t strip, std::int64_t t, Diagonal& now) const {
    group.each_end(strip, t, [&](int p, std::int64_t place, std::int64_t lane) {
      for (int s = 0; s < kStates; ++s) put_border(p, s, place, value_in(now, s, lane));
    });
  }

  // ---- the border ----

  void lay_border() {
    const Ends& ends = group.problem.ends;
    for (int s = 0; s < kStates; ++s) {
      const auto value = [&](Gaps gaps) {
        return s == Topology::kBegin && gaps == Gaps::kFree ? Form::origin() : Form::no_path();
      };
      left_[s].reset(group.n_max + group.rows + 1, group.pairs, value(ends.leading_x));
      top_[s].reset(group.m_max + group.rows + 2, group.pairs, value(ends.leading_y));
    }
    for (int p = 0; p < group.count; ++p) {
      const std::int64_t n = group.n[p], m = group.m[p], first_of_right = group.problem.m;
      // If the last cell is in the band, it says better.
      if (group.problem.band) score(p, Topology::kEnd, -kInfinity<double>);
      for (int s = 0; s < kStates; ++s) {
        each_on_side(p, s, false, [&](std::int64_t j, double value) {
          set(top_[s], j, p, value);
          if (n > 0) return;
          put_border(p, s, j, value);
          if (j == m) score(p, s, value);
        });
        each_on_side(p, s, true, [&](std::int64_t i, double value) {
          set(left_[s], i, p, value);
          if (i > 0 && i == n) put_border(p, s, 0, value);
          if (i == 0 || m > 0) return;
          put_border(p, s, first_of_right + i, value);
          if (i == n) score(p, s, value);
        });
      }
    }
  }

  // Calls f(place, value) for the values of a pair's border in one state, from the corner on: down the first column or
  // along the first row. Those of a line that was laid with them already may be left out.
  template <class F>
  void each_on_side(int p, int state, bool down, const F& f) {
    const std::int64_t length = down ? group.n[p] : group.m[p];
    const auto smoothness = group.smoothness(p);
    if (group.problem.border) {
      const double* scores = group.problem.border + (group.pair[p] * kStates + state) * group.problem.border_length();
      for (std::int64_t place = 0; place <= length; ++place) {
        const double value = value_of_score(scores[down && place > 0 ? group.problem.m + place : place], minimises());
        if (Form::border_beyond_reach(T(value), smoothness)) beyond_reach_ = true;
        f(place, value);
      }
      return;
    }
    const Gaps gaps = down ? group.problem.ends.leading_x : group.problem.ends.leading_y;
    const LeadingGap gap = down ? Topology::kDown : Topology::kAcross;
    f(0, state == Topology::kBegin ? 0 : -kInfinity<double>);
    if (gaps == Gaps::kPaid && state == gap.state) {
      TwoFloat<double> sum{0, 0};
      for (std::int64_t place = 1; place <= length; ++place) {
        const auto potentials = down ? border_potentials(p, place, 0) : border_potentials(p, 0, place);
        const T next = Exact<T>::template weigh_gap<Family>(potentials[place == 1 ? gap.first : gap.next], smoothness);
        if (Form::beyond_reach(next, smoothness, reach_)) beyond_reach_ = true;
        sum = add(sum, double(next));
        f(place, sum.high);
      }
    } else if (outputs_.border || group.n[p] == 0 || group.m[p] == 0) {
      const double value = state == Topology::kBegin && gaps == Gaps::kFree ? 0 : -kInfinity<double>;
      for (std::int64_t place = 1; place <= length; ++place) f(place, value);
    }
  }

  void set(ValueLine<Form>& line, std::int64_t place, int p, double value) const {
    const T high = T(value), low = T(value - double(high));
    line.set(place, p, Form::from({high, low == low ? low : T(0)}, group.smoothness(p)));
  }

  Potentials<Family, T> border_potentials(int p, std::int64_t i, std::int64_t j) const {
    T values[kTables], parameters[kParameters + 1];
    group.border_inputs(p, i, j, values, parameters);
    return group.problem.family.potentials(values, parameters, group.gamma[p]);
  }

  Outputs<T> outputs_;
  T reach_ = 0;
  std::atomic<bool> beyond_reach_ = false;  // never back to false
  ValueLine<Form> top_[kStates], left_[kStates];
  Memory<Strip> strips_;
};

}  // namespace softdp::cpu
