// The backward sweep of a group: linear in the weights that the forward sweep has kept, the same for every family but
// for what the masses on the arcs are to the tables.
//
// kTangent: how its results change along a direction, from how the weights do. Every mass M comes with its own change
// then, in a channel after those of the states.
#pragma once

#include "../../recurrence/masses.h"
#include "gradients.h"

namespace softdp::cpu {

template <class Family, class T, bool kTangent = false>
class Backward {
 public:
  using Topology = typename Family::Topology;
  using Word = typename StoredWeights<T>::Word;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kStates = Topology::kStates;
  static constexpr int kPlaces = softdp::kPlaces<Topology>;
  static constexpr int kChannels = kTangent ? 2 * kStates : kStates;
  static constexpr int kPotentials = Topology::kPotentials;
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  using Members = Directed<Family, T, kTangent>;

  const Members members;
  const Group<Family, T>& group = members.group;

  // concurrent: strips are swept side by side, and each has to remember where it is.
  Backward(const Members& its_members, const Upstream<T>& upstream, const Gradients<Family, T>& gradients,
           bool concurrent)
      : members(its_members),
        upstream_(upstream),
        border_gradients_(gradients.border),
        sums_(members, gradients),
        strips_(concurrent ? group.strips : 1) {
    if constexpr (Topology::kEnd != kNoState)
      for (int p = 0; p < group.count; ++p)
        seed_[p] = seed(upstream.scores[group.pair[p]], upstream.score_gradients[group.pair[p]], minimises());
    for (int s = 0; s < kChannels; ++s) {
      top_[s].reset(group.m_max + group.rows + 2, group.pairs, T(0));
      left_[s].reset(group.n_max + group.rows + 1, group.pairs, T(0));
    }
  }

  // Steps [first, last) of a strip, as far as they are in its range or one before it, from the last to the first. The
  // strip below must be `rows` steps ahead.
  // kNumbers: gamma or a parameter has a gradient too. tangents: of the weights.
  template <bool kNumbers>
  SOFTDP_INLINE void tile(std::int64_t strip, std::int64_t first, std::int64_t last, const Word* weights,
                          const T* tangents) {
    const int rows = group.rows;
    const Range range = group.range(strip), ends = group.ends(strip);
    Strip& masses = strips_[strips_.size() > 1 ? strip : 0];
    first = std::max(first, range.first - 1);
    last = std::min(last, range.last);
    if (first >= last) return;
    if (last == range.last) {
      masses = {};
      // Nothing is sent from columns that the strip below does not reach.
      if (group.problem.band && strip + 1 < group.strips)
        forget(group.range(strip + 1).last + 1, range.last - rows + 2);
    }
    Work work;
    if constexpr (kNumbers) std::copy_n(masses.numbers[0], (kParameters + 1) * kLanes, work.numbers[0]);
    // Chunks end on a grid, whatever a band leaves of the strip: what is summed does not depend on where tiles end.
    for (std::int64_t end = last, chunk; end > first; end = chunk) {
      chunk = std::max(first, group.steps - (group.steps - end + kChunk) / kChunk * kChunk);
      if constexpr (Family::kFlowReadsTables)
        for (int k = 0; k < kTables; ++k) members.stage(k, strip, chunk, end, work.staged[k]);
      Masses* now = &masses.diagonal[(end + 2) % 3];
      Masses* one_later = &masses.diagonal[end % 3];
      Masses* two_later = &masses.diagonal[(end + 1) % 3];
      for (std::int64_t t = end - 1; t >= chunk; --t) {
        for (int s = 0; s < kChannels; ++s) {
          if (t >= rows - 1) {
            copy_pairs(top_[s].from(t - rows + 1), one_later->sent[kAbove][s].from_lane(kLanes));
          } else {
            std::fill_n(one_later->sent[kAbove][s].from_lane(kLanes), kMaxPairs, T(0));
          }
        }
        if (Topology::kEnd != kNoState && ends.first <= t && t < ends.last) {
          for (int p = 0; p < group.count; ++p) {
            const int lane = group.end_lane(strip, t, p);
            if (lane >= 0) one_later->sent[kLeft][Topology::kEnd].lane()[lane] += seed_[p];
          }
        }
        if (upstream_.border_gradients) {
          group.each_end(strip, t, [&](int p, std::int64_t place, std::int64_t lane) {
            for (int s = 0; s < kStates; ++s) one_later->sent[kLeft][s].lane()[lane] += T(border_seed(p, s, place));
          });
        }
        send_above(t + 1, *two_later, *one_later);
        if (t < rows) arrive_at_border(strip, t, *two_later, *one_later);
        const std::int64_t place = std::max<std::int64_t>(t - range.first, 0) * kPlaces * kLanes;
        step<kNumbers>(*two_later, *one_later, *now, t - chunk, weights + place * kWords,
                       tangents + (kTangent ? place * kWeightTangents : 0), work);
        now = std::exchange(two_later, std::exchange(one_later, now));
      }
      sums_.keep(strip, chunk, end, work.table_gradients);
    }
    if constexpr (kNumbers) std::copy_n(work.numbers[0], (kParameters + 1) * kLanes, masses.numbers[0]);
    if (first == range.first - 1) {
      if constexpr (kNumbers) sums_.keep_numbers(strip, masses.numbers);
      send_above(first, masses.diagonal[(first + 1) % 3], masses.diagonal[first % 3]);
      if (group.problem.band) forget(strip > 0 ? group.range(strip - 1).first - rows : 0, first);
    }
  }

  void end() {
    settle_border();
    sums_.write();
  }

 private:
  // The masses that leave the cells of a diagonal, by where they go: the step of the arc and the state it comes from.
  struct Masses {
    Lanes<T> sent[kSteps][kChannels];
  };

  struct Strip {
    Masses diagonal[3];                                        // of step t at t % 3
    alignas(64) double numbers[kParameters + 1][kLanes] = {};  // the parameters' and gamma's gradients so far
  };

  struct Work {
    typename Members::Staged staged[kTables];
    alignas(64) T table_gradients[kTables][kChunk * kLanes];
    alignas(64) double numbers[kParameters + 1][kLanes];  // as in Strip
  };

  bool minimises() const { return group.problem.family.minimise; }

  // What the gradient of the border that the forward sweep put out brings to one of its cells.
  double border_seed(int p, int state, std::int64_t place) const {
    if (!upstream_.border_gradients) return 0;
    const std::int64_t at = (group.pair[p] * kStates + state) * group.problem.border_length() + place;
    return seed(upstream_.border[at], upstream_.border_gradients[at], minimises());
  }

  // Nothing is sent to these columns of the row above a strip.
  SOFTDP_APART void forget(std::int64_t first, std::int64_t last) {
    for (int s = 0; s < kChannels; ++s)
      for (std::int64_t column = std::max<std::int64_t>(first, 0); column < last; ++column)
        for (int p = 0; p < group.pairs; ++p) top_[s].at(column, p) = 0;
  }

  // Masses that the strip's first row and the border send to the row above it.
  SOFTDP_INLINE void send_above(std::int64_t column, const Masses& two_later, const Masses& one_later) {
    for (int s = 0; s < kChannels; ++s) {
      const T* from_diagonal = two_later.sent[kDiagonal][s].upto_lane(group.pairs);
      const T* from_below = one_later.sent[kAbove][s].upto_lane(group.pairs);
      T above[kMaxPairs];
      for (int p = 0; p < kMaxPairs; ++p) above[p] = from_diagonal[p] + from_below[p];
      copy_pairs(above, top_[s].upto(column));
    }
  }

  // What the border's cell in row t of a strip is sent goes no further.
  SOFTDP_INLINE void arrive_at_border(std::int64_t strip, std::int64_t t, Masses& two_later, Masses& one_later) {
    for (int s = 0; s < kChannels; ++s) {
      T* border = left_[s].from(strip * group.rows + 1 + t);
      for (int p = 0; p < group.pairs; ++p) {
        const std::int64_t lane = t * group.pairs + p;
        T* arriving[] = {two_later.sent[kDiagonal][s].lane() + lane + group.pairs,
                         one_later.sent[kAbove][s].lane() + lane + group.pairs, one_later.sent[kLeft][s].lane() + lane};
        border[p] = (*arriving[0] + *arriving[1]) + *arriving[2];
        for (T* mass : arriving) *mass = 0;
      }
    }
  }

  // One channel, or a state's two, of a lane.
  using Number = typename Members::Number;
  SOFTDP_INLINE static Number number(T* const (&channels)[kChannels], int state, int l) {
    if constexpr (kTangent)
      return {channels[state][l], channels[state + kStates][l]};
    else
      return channels[state][l];
  }

  template <bool kNumbers>
  SOFTDP_INLINE void step(Masses& two_later, Masses& one_later, Masses& now, std::int64_t s, const Word* weights,
                          const T* tangents, Work& work) const {  // weights [kPlaces][kWords][kLanes]
    T* from[kSteps][kChannels];
    T* to[kSteps][kChannels];
    for (int c = 0; c < kChannels; ++c) {
      from[kDiagonal][c] = two_later.sent[kDiagonal][c].lane() + group.pairs;
      from[kAbove][c] = one_later.sent[kAbove][c].lane() + group.pairs;
      from[kLeft][c] = one_later.sent[kLeft][c].lane();
      for (int step = 0; step < kSteps; ++step) to[step][c] = now.sent[step][c].lane();
    }
    const Family family = group.problem.family;
    typename Members::At staged[kTables];
    T* to_tables[kTables];
    for (int k = 0; k < kTables; ++k) {
      staged[k] = members.at(k, work.staged[k], s);
      to_tables[k] = work.table_gradients[k] + s * kLanes;
    }
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      Potentials<Family, Number> mass = {};
      Number here[kStates] = {};  // sent from states of the cell to others
      T entropies = 0;
      unrolled<kStates>([&](auto from_last) SOFTDP_INLINE_LAMBDA {
        constexpr int state = kStates - 1 - from_last;
        constexpr Place place = place_of<Topology>(state);
        const Word* own = weights + place.at * kWords * kLanes + l;
        const Arriving<Number> arriving = {number(from[kDiagonal], state, l), number(from[kAbove], state, l),
                                           number(from[kLeft], state, l), here[state]};
        PassedOn<Number> passed;
        Number own_entropy = T(0);
        if constexpr (kTangent) {
          const T* change = tangents + place.at * kWeightTangents * kLanes + l;
          passed = pass_on<place.fractions>(sum_of_values<Topology, state>(arriving),
                                            sum_of_tangents<Topology, state>(arriving), own, kLanes, change, kLanes);
          if constexpr (kNumbers) own_entropy = entropy<place.fractions, T>(own, kLanes, change, kLanes);
        } else {
          passed = pass_on<place.fractions>(sum_of<Topology, state>(arriving), own, kLanes);
          if constexpr (kNumbers) own_entropy = entropy<place.fractions, T>(own, kLanes);
        }
        const Number shares[] = {passed.sent.match, passed.sent.remove, passed.sent.insert};
        const auto send = [&](int step, int to_state, Number share) SOFTDP_INLINE_LAMBDA {
          if constexpr (kTangent) {
            to[step][to_state][l] = share.value;
            to[step][to_state + kStates][l] = share.tangent;
          } else {
            to[step][to_state][l] = share;
          }
        };
        unrolled<3>([&](auto k) SOFTDP_INLINE_LAMBDA {
          constexpr Arc arc = Topology::kArcs[state][k];
          if constexpr (arc.step < kSteps) send(arc.step, arc.state, shares[k]);
          if constexpr (arc.step == kHere) here[arc.state] += shares[k];
          if constexpr (arc.potential != kUnpaid) mass[arc.potential] += shares[k];
        });
        // What the gradients of scores and borders bring was added to it.
        if constexpr (!leaves<Topology>(state, kLeft)) send(kLeft, state, T(0));
        if constexpr (kNumbers) entropies += wanted(passed.mass * own_entropy);
      });
      Number values[kTables] = {}, parameters[kParameters + 1] = {}, gradients[kTables], numbers[kParameters + 1] = {};
      if constexpr (Family::kFlowReadsTables)
        unrolled<kTables>([&](auto k) SOFTDP_INLINE_LAMBDA { values[k] = members.at(staged[k], l); });
      for (int k = 0; k < kParameters; ++k) parameters[k] = members.parameter(k, l);
      const Number to_gamma = family.flow(values, parameters, members.gamma(l), mass, gradients, numbers);
      unrolled<kTables>([&](auto k) SOFTDP_INLINE_LAMBDA { to_tables[k][l] = wanted(gradients[k]); });
      if constexpr (kNumbers) {
        for (int k = 0; k < kParameters; ++k) work.numbers[k][l] += wanted(numbers[k]);
        work.numbers[kParameters][l] += wanted(to_gamma) + entropies;
      }
    }
  }

  // What has arrived at the cells of the border, and what begins in them where they are a last row or column too: it
  // goes on along a gap that is paid, or is the gradient of a border that was given.
  void settle_border() {
    const bool given = border_gradients_ != nullptr;
    const bool paid = !group.problem.border &&
                      (group.problem.ends.leading_x == Gaps::kPaid || group.problem.ends.leading_y == Gaps::kPaid);
    if (!given && !paid) return;
    for (int p = 0; p < group.count; ++p) {
      for (int s = 0; s < kStates; ++s) {
        settle_side(p, s, true);
        settle_side(p, s, false);
      }
    }
  }

  void settle_side(int p, int state, bool down) {
    const std::int64_t n = group.n[p], m = group.m[p], length = down ? n : m;
    const bool paid =
        !group.problem.border && (down ? group.problem.ends.leading_x : group.problem.ends.leading_y) == Gaps::kPaid;
    const LeadingGap gap = down ? Topology::kDown : Topology::kAcross;
    double* const gradients =
        border_gradients_ ? border_gradients_ + (group.pair[p] * kStates + state) * group.problem.border_length()
                          : nullptr;
    double so_far = 0, change_so_far = 0;
    for (std::int64_t place = length; place >= (down ? 1 : 0); --place) {
      double mass = (down ? left_ : top_)[state].at(place, p);
      double change = 0;
      if constexpr (kTangent) change = (down ? left_ : top_)[state + kStates].at(place, p);
      if (down ? m == 0 : n == 0) mass += border_seed(p, state, down ? group.problem.m + place : place);
      if (down && place == n) mass += border_seed(p, state, 0);
      if (place == length && (down ? m == 0 : n == 0) && state == Topology::kEnd) mass += seed_[p];
      if (gradients) gradients[down ? group.problem.m + place : place] = kTangent ? change : mass;
      if (paid && state == gap.state && place > 0) {
        so_far += mass;
        change_so_far += change;
        Number on_arc;
        if constexpr (kTangent)
          on_arc = {T(so_far), T(change_so_far)};
        else
          on_arc = T(so_far);
        sums_.keep_border(p, down ? place : 0, down ? 0 : place, place == 1 ? gap.first : gap.next, on_arc);
      }
    }
  }

  Upstream<T> upstream_;
  double* border_gradients_;
  Sums<Family, T, kTangent> sums_;
  T seed_[kMaxPairs] = {};
  Line<T> top_[kChannels], left_[kChannels];
  Memory<Strip> strips_;
};

}  // namespace softdp::cpu
