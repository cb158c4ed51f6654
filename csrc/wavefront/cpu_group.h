// A group: up to kMaxPairs tables swept side by side, strip after strip of rows, with all that a sweep has to remember
// between strips. Columns and rows count from 1; 0 is the border.
#pragma once

#include <atomic>
#include <vector>

#include "cpu_stage.h"

namespace softdp::cpu {

// How a batch is cut into groups, strips and steps. The weights of a cell lie at [group][strip][step - 1][word][lane].
struct Layout {
  std::int64_t pairs, rows, groups, strips, steps;

  // As many pairs side by side as leave two groups, for two threads; softdp/registrations.py repeats this rule.
  Layout(std::int64_t batch, std::int64_t n, std::int64_t m) {
    pairs = 1;
    while (pairs < kMaxPairs && batch >= 4 * pairs) pairs *= 2;
    rows = kLanes / pairs;
    groups = (batch + pairs - 1) / pairs;
    strips = m > 0 ? (n + rows - 1) / rows : 0;
    steps = n > 0 ? m + rows - 1 : 0;
  }

  std::int64_t words_per_strip(int words) const { return steps * words * kLanes; }
};

template <class Family, class T>
class Group {
 public:
  using Word = typename StoredWeights<T>::Word;
  static constexpr int kWords = StoredWeights<T>::kWords;
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  // concurrent: strips are swept side by side, and each has to remember where it is.
  Group(const Problem<Family, T>& problem, const Layout& layout, const std::int64_t* members, int count,
        bool concurrent)
      : problem_(problem), pairs_(int(layout.pairs)), rows_(int(layout.rows)), count_(count), concurrent_(concurrent) {
    for (int p = 0; p < pairs_; ++p) {
      const bool present = p < count;
      pair_[p] = members[present ? p : 0];
      n_[p] = !present ? 0 : problem.n_lengths ? problem.n_lengths[pair_[p]] : problem.n;
      m_[p] = !present ? 0 : problem.m_lengths ? problem.m_lengths[pair_[p]] : problem.m;
      for (int k = 0; k < kTables; ++k) offset_[k][p] = problem.tables[k].offset(problem.batch, pair_[p]);
      const T gamma = problem.gamma[pair_[p]];
      if (gamma == 0) general_ = true;
      const auto smoothness = Smoothness<T>::from(gamma);
      for (int r = 0; r < rows_; ++r) {
        gamma_[r * pairs_ + p] = smoothness.gamma;
        scale_[r * pairs_ + p] = smoothness.scale;
        for (int k = 0; k < kParameters; ++k) parameters_[k][r * pairs_ + p] = problem.parameters[k][pair_[p]];
      }
      n_max_ = std::max(n_max_, n_[p]);
      m_max_ = std::max(m_max_, m_[p]);
      if (n_[p] > 0 && m_[p] > 0) {
        strips_ = std::max(strips_, (n_[p] + rows_ - 1) / rows_);
        steps_ = std::max(steps_, m_[p] + rows_);  // step 0 holds nothing but the border
      }
    }
  }

  std::int64_t strips() const { return strips_; }
  std::int64_t steps() const { return steps_; }

  // ---- forward ----

  void forward_begin(T* scores) {
    lay_border();
    strip_values_.resize(concurrent_ ? strips_ : 1);
    for (int p = 0; p < count_; ++p) {
      if (n_[p] > 0 && m_[p] > 0) continue;
      const TwoFloat<T> value = n_[p] > 0 ? left_.at(n_[p], p) : top_.at(m_[p], p);
      scores[pair_[p]] = score(value);
    }
  }

  // Steps [first, last) of a strip, 1 <= first. The strip above must be `rows` steps ahead.
  template <bool kKeepWeights>
  SOFTDP_INLINE void forward_tile(std::int64_t strip, std::int64_t first, std::int64_t last, T* scores, Word* weights) {
    StripValues& values = strip_values_[concurrent_ ? strip : 0];
    if (first == 1) begin_strip(strip, values);
    const std::int64_t top_row = strip * rows_;
    alignas(64) T staged[kTables][kChunk * kLanes];
    alignas(64) T potentials[3][kChunk * kLanes];
    alignas(64) T dither[kLanes];
    for (int l = 0; l < kLanes; ++l) dither[l] = StoredWeights<T>::lane_dither(top_row + l / pairs_, l / pairs_);
    for (std::int64_t chunk = first; chunk < last; chunk += kChunk) {
      const std::int64_t end = std::min<std::int64_t>(chunk + kChunk, last);
      if (stage_potentials(strip, chunk, end, staged, potentials)) general_ = true;
      const bool general = general_;
      const bool scores_here = ends_between(strip, chunk, end);
      for (std::int64_t t = chunk; t < end; ++t) {
        Diagonal<T>& now = values.diagonal[t % 3];
        copy(top_.high + top_.upto(t + 1), now.high.upto_lane(0));
        copy(top_.low + top_.upto(t + 1), now.low.upto_lane(0));
        const std::int64_t at = (t - chunk) * kLanes;
        const Diagonal<T>& two_ago = values.diagonal[(t + 1) % 3];
        const Diagonal<T>& one_ago = values.diagonal[(t + 2) % 3];
        Word* weights_now = kKeepWeights ? weights + (t - 1) * kWords * kLanes : nullptr;
        const auto step = [&](auto general) SOFTDP_INLINE_LAMBDA {
          forward_step<general.value, kKeepWeights, T>(two_ago, one_ago, now, pairs_, potentials[0] + at,
                                                       potentials[1] + at, potentials[2] + at, gamma_, scale_, dither,
                                                       StoredWeights<T>::step_dither(t), weights_now);
        };
        general ? step(std::true_type{}) : step(std::false_type{});
        if (t < rows_) {  // row t is on the border; the rows after it are not in their tables yet
          copy(left_.high + left_.from(top_row + 1 + t), now.high.lane() + t * pairs_);
          copy(left_.low + left_.from(top_row + 1 + t), now.low.lane() + t * pairs_);
        }
        if (t >= rows_ - 1) {
          copy(now.high.lane() + kLanes - pairs_, top_.high + top_.from(t - rows_ + 1));
          copy(now.low.lane() + kLanes - pairs_, top_.low + top_.from(t - rows_ + 1));
        }
        if (scores_here) {
          for (int p = 0; p < count_; ++p) {
            const int lane = end_lane(strip, t, p);
            if (lane >= 0) scores[pair_[p]] = score({now.high.lane()[lane], now.low.lane()[lane]});
          }
        }
      }
    }
  }

  // ---- backward ----

  void backward_begin(const T* scores, const T* score_gradients, const Gradients<Family, T>& gradients) {
    gradients_ = &gradients;
    for (int p = 0; p < count_; ++p) {
      const T value = problem_.family.minimise ? -scores[pair_[p]] : scores[pair_[p]];
      const T gradient = score_gradients[pair_[p]];
      // No path, no gradient; an undefined score has an undefined one.
      seed_[p] = value == -kInfinity<T> ? T(0) : value != value ? value : gradient;
    }
    top_.reset(m_max_ + rows_ + 2, pairs_);
    left_.reset(n_max_ + rows_ + 1, pairs_);
    strip_masses_.resize(concurrent_ ? strips_ : 1);
    const std::int64_t lanes = std::max<std::int64_t>(1, (n_max_ + rows_ - 1) / rows_) * kLanes;
    for (int k = 0; k < kTables; ++k) {
      if (gradients.tables[k] == nullptr) continue;
      if (problem_.tables[k].one_column) lane_sums_[k].assign(lanes, 0);
      if (problem_.tables[k].one_row) column_sums_[k].assign(m_max_ * pairs_, 0);
    }
    if (gradients.gamma) gamma_sums_.assign(lanes, 0);
    for (int k = 0; k < kParameters; ++k)
      if (gradients.parameters[k]) parameter_sums_[k].assign(lanes, 0);
  }

  // Steps [first, last) of a strip, 0 <= first, from the last to the first. The strip below must be `rows` steps ahead.
  SOFTDP_INLINE void backward_tile(std::int64_t strip, std::int64_t first, std::int64_t last, const Word* weights) {
    StripMasses& masses = strip_masses_[concurrent_ ? strip : 0];
    if (last == steps_) masses = {};
    alignas(64) T staged[kTables][kChunk * kLanes];
    alignas(64) T table_gradients[kTables][kChunk * kLanes];
    Lanes<T> mass_of_cells;
    T* mass = mass_of_cells.lane();
    for (std::int64_t end = last; end > first; end -= kChunk) {
      const std::int64_t chunk = std::max<std::int64_t>(end - kChunk, first);
      if constexpr (Family::kFlowReadsTables) stage_all(strip, chunk, end, staged);
      const bool seeds_here = ends_between(strip, chunk, end);
      alignas(64)
          T numbers[kParameters + 1][kLanes] = {};  // this chunk's part of the parameters' and gamma's gradients
      for (std::int64_t t = end - 1; t >= chunk; --t) {
        Masses<T>& now = masses.diagonal[t % 3];
        Masses<T>& one_later = masses.diagonal[(t + 1) % 3];
        Masses<T>& two_later = masses.diagonal[(t + 2) % 3];
        if (t >= rows_ - 1) copy(top_.high + top_.from(t - rows_ + 1), one_later.remove.from_lane(kLanes));
        if (seeds_here) {
          for (int p = 0; p < count_; ++p) {
            const int lane = end_lane(strip, t, p);
            if (lane >= 0) one_later.insert.lane()[lane] += seed_[p];
          }
        }
        write_above(t + 1, two_later, one_later);
        const Word* weights_now = weights + (std::max<std::int64_t>(t, 1) - 1) * kWords * kLanes;
        backward_step<T>(two_later, one_later, now, pairs_, weights_now, mass);
        if (t < rows_) {
          // Row t is on the border; the rows after it are not in their tables yet.
          copy(mass_of_cells.upto_lane((t + 1) * pairs_), left_.high + left_.upto(strip * rows_ + 1 + t));
          std::fill(mass + t * pairs_, mass + kLanes, T(0));
          for (Lanes<T>* arc : {&now.match, &now.remove, &now.insert})
            std::fill(arc->lane() + t * pairs_, arc->lane() + kLanes, T(0));
        }
        flow_step(t - chunk, staged, now, table_gradients, numbers);
        if (gradients_->gamma) entropy_step(weights_now, mass, numbers[kParameters]);
      }
      keep_gradients(strip, chunk, end, table_gradients, numbers);
    }
    if (first == 0) write_above(0, masses.diagonal[1], masses.diagonal[0]);
  }

  void backward_end() {
    if (problem_.leading_gaps == LeadingGaps::kPaid) pay_border();
    for (int p = 0; p < count_; ++p) {
      for (int k = 0; k < kTables; ++k) {
        if (gradients_->tables[k] == nullptr) continue;
        with_element(problem_.tables[k].element, [&](auto* type) { write_sums(k, p, type); });
      }
      if (gradients_->gamma) {
        const double sum = sum_of_lanes(gamma_sums_, p);
        gradients_->gamma[pair_[p]] = T(problem_.family.minimise ? -sum : sum);
      }
      for (int k = 0; k < kParameters; ++k)
        if (gradients_->parameters[k]) gradients_->parameters[k][pair_[p]] = T(sum_of_lanes(parameter_sums_[k], p));
    }
  }

 private:
  // Values (or masses) on a row or a column of cells, for each pair. Lanes are read and written kMaxPairs at a time,
  // whatever the number of pairs; what comes along is overwritten before it is used, in the direction of the sweep.
  struct Border {
    std::vector<T> storage_high, storage_low;
    T *high = nullptr, *low = nullptr;
    int pairs = 0;

    void reset(std::int64_t length, int pair_count) {
      pairs = pair_count;
      storage_high.assign(length * pairs + 2 * kMaxPairs, 0);
      storage_low.assign(length * pairs + 2 * kMaxPairs, 0);
      high = storage_high.data() + kMaxPairs;
      low = storage_low.data() + kMaxPairs;
    }
    TwoFloat<T> at(std::int64_t index, int p) const { return {high[index * pairs + p], low[index * pairs + p]}; }
    void set(std::int64_t index, int p, TwoFloat<T> value) {
      high[index * pairs + p] = value.high;
      low[index * pairs + p] = value.low;
    }
    // Begins with the first pair of `index`.
    SOFTDP_INLINE std::int64_t from(std::int64_t index) const { return index * pairs; }
    // Ends with the last pair of `index`.
    SOFTDP_INLINE std::int64_t upto(std::int64_t index) const { return (index + 1) * pairs - kMaxPairs; }
  };

  SOFTDP_INLINE static void copy(const T* from, T* to) { __builtin_memcpy(to, from, kMaxPairs * sizeof(T)); }

  struct StripValues {
    Diagonal<T> diagonal[3];  // of step t at t % 3
  };
  struct StripMasses {
    Masses<T> diagonal[3];  // of step t at t % 3
  };

  T score(TwoFloat<T> value) const { return problem_.family.minimise ? T(0) - value.high : value.high; }

  // The lane in which pair p's last cell is at this step, or -1.
  SOFTDP_INLINE int end_lane(std::int64_t strip, std::int64_t t, int p) const {
    const std::int64_t row = n_[p] - 1 - strip * rows_;
    return m_[p] > 0 && row >= 0 && row < rows_ && t == m_[p] + row ? int(row) * pairs_ + p : -1;
  }

  bool ends_between(std::int64_t strip, std::int64_t first, std::int64_t last) const {
    for (int p = 0; p < count_; ++p) {
      const std::int64_t row = n_[p] - 1 - strip * rows_;
      if (m_[p] > 0 && row >= 0 && row < rows_ && m_[p] + row >= first && m_[p] + row < last) return true;
    }
    return false;
  }

  // What the tables hold for a cell of the border; a table that varies along it counts as 0.
  void border_inputs(int p, std::int64_t i, std::int64_t j, T (&values)[kTables],
                     T (&parameters)[kParameters + 1]) const {
    for (int k = 0; k < kTables; ++k) {
      const Table& table = problem_.tables[k];
      values[k] = 0;
      if (i > 0 ? !table.one_column : !table.one_row) continue;
      const std::int64_t row = table.one_row ? 0 : i - 1, column = table.one_column ? 0 : j - 1;
      const std::int64_t at = offset_[k][p] + row * table.row_stride + column * table.column_stride;
      with_element(table.element, [&](auto* type) {
        values[k] = static_cast<T>(static_cast<const std::remove_pointer_t<decltype(type)>*>(table.data)[at]);
      });
    }
    for (int k = 0; k <= kParameters; ++k) parameters[k] = parameters_[k][p];
  }

  Arcs<T> border_potentials(int p, std::int64_t i, std::int64_t j) const {
    T values[kTables], parameters[kParameters + 1];
    border_inputs(p, i, j, values, parameters);
    return problem_.family.potentials(values, parameters, gamma_[p]);
  }

  TwoFloat<T> border_value(TwoFloat<T> before, T potential) {
    if (potential == kInfinity<T>) general_ = true;
    return normalise(add(before, potential));
  }

  void lay_border() {
    left_.reset(n_max_ + rows_ + 1, pairs_);
    top_.reset(m_max_ + rows_ + 2, pairs_);
    if (problem_.leading_gaps == LeadingGaps::kFree) return;
    const bool paid = problem_.leading_gaps == LeadingGaps::kPaid;
    const TwoFloat<T> no_path{-kInfinity<T>, 0};
    for (int p = 0; p < count_; ++p) {
      for (std::int64_t i = 1; i <= n_[p]; ++i)
        left_.set(i, p, paid ? border_value(left_.at(i - 1, p), border_potentials(p, i, 0).remove) : no_path);
      for (std::int64_t j = 1; j <= m_[p]; ++j)
        top_.set(j, p, paid ? border_value(top_.at(j - 1, p), border_potentials(p, 0, j).insert) : no_path);
    }
  }

  SOFTDP_INLINE void begin_strip(std::int64_t strip, StripValues& values) {
    Diagonal<T>& before = values.diagonal[2];  // step -1
    Diagonal<T>& zero = values.diagonal[0];
    copy(top_.high + top_.upto(0), before.high.upto_lane(0));
    copy(top_.low + top_.upto(0), before.low.upto_lane(0));
    copy(top_.high + top_.upto(1), zero.high.upto_lane(0));
    copy(top_.low + top_.upto(1), zero.low.upto_lane(0));
    copy(left_.high + left_.from(strip * rows_ + 1), zero.high.lane());
    copy(left_.low + left_.from(strip * rows_ + 1), zero.low.lane());
  }

  // Lane l's row of a table (or of its gradient) whose pairs' rows begin where `row(p, i)` says, i from 0.
  template <class E, class Row>
  SOFTDP_INLINE void rows_of(std::int64_t strip, int l, const Row& row, LaneRow<E> (&rows)[4]) const {
    for (int q = 0; q < 4; ++q) {
      const int p = (l + q) & (pairs_ - 1), r = (l + q) / pairs_;
      const std::int64_t i = strip * rows_ + r;
      const bool inside = i < n_[p];
      rows[q] = {inside ? row(p, i) : nullptr, r, inside ? m_[p] : 0};
    }
  }

  // lanes[t - first][lane] of table k; one step of lanes alone where the table does not vary along m.
  SOFTDP_INLINE void stage(int k, std::int64_t strip, std::int64_t first, std::int64_t last, T* lanes) const {
    const Table& table = problem_.tables[k];
    with_element(table.element, [&](auto* type) SOFTDP_INLINE_LAMBDA {
      using E = std::remove_pointer_t<decltype(type)>;
      const auto* data = static_cast<const E*>(table.data);
      const auto row = [&](int p, std::int64_t i)
                           SOFTDP_INLINE_LAMBDA { return data + offset_[k][p] + i * table.row_stride; };
      for (int l = 0; l < kLanes; l += 4) {
        LaneRow<const E> rows[4];
        rows_of(strip, l, row, rows);
        if (table.one_column) {
          for (int q = 0; q < 4; ++q) lanes[l + q] = rows[q].m > 0 ? static_cast<T>(*rows[q].data) : T(0);
        } else {
          load_lanes<T>(rows, table.column_stride, first, last, lanes + l);
        }
      }
    });
  }

  SOFTDP_INLINE void stage_all(std::int64_t strip, std::int64_t first, std::int64_t last,
                               T (&staged)[kTables][kChunk * kLanes]) const {
    for (int k = 0; k < kTables; ++k) stage(k, strip, first, last, staged[k]);
  }

  std::int64_t step_stride(int k) const { return problem_.tables[k].one_column ? 0 : kLanes; }

  // Returns whether there is a potential of +inf.
  SOFTDP_INLINE bool stage_potentials(std::int64_t strip, std::int64_t first, std::int64_t last,
                                      T (&staged)[kTables][kChunk * kLanes],
                                      T (&potentials)[3][kChunk * kLanes]) const {
    stage_all(strip, first, last, staged);
    const Family family = problem_.family;
    T largest[kLanes] = {};
    for (std::int64_t s = 0; s < last - first; ++s) {
      SOFTDP_INDEPENDENT
      for (int l = 0; l < kLanes; ++l) {
        T values[kTables], parameters[kParameters + 1] = {};
        for (int k = 0; k < kTables; ++k) values[k] = staged[k][s * step_stride(k) + l];
        for (int k = 0; k < kParameters; ++k) parameters[k] = parameters_[k][l];
        const Arcs<T> arcs = family.potentials(values, parameters, gamma_[l]);
        potentials[0][s * kLanes + l] = arcs.match;
        potentials[1][s * kLanes + l] = arcs.remove;
        potentials[2][s * kLanes + l] = arcs.insert;
        largest[l] = std::max(largest[l], std::max(arcs.match, std::max(arcs.remove, arcs.insert)));
      }
    }
    return *std::max_element(largest, largest + kLanes) == kInfinity<T>;
  }

  // Masses that the strip's first row and the border send to the row above it.
  SOFTDP_INLINE void write_above(std::int64_t column, const Masses<T>& two_later, const Masses<T>& one_later) {
    const T* from_diagonal = two_later.match.upto_lane(pairs_);
    const T* from_below = one_later.remove.upto_lane(pairs_);
    T* above = top_.high + top_.upto(column);
    for (int p = 0; p < kMaxPairs; ++p) above[p] = from_diagonal[p] + from_below[p];
  }

  // From the masses of a step's arcs to the gradients of the tables, the parameters and gamma.
  SOFTDP_INLINE void flow_step(std::int64_t s, const T (&staged)[kTables][kChunk * kLanes], const Masses<T>& now,
                               T (&table_gradients)[kTables][kChunk * kLanes], T (&numbers)[kParameters + 1][kLanes]) {
    const Family family = problem_.family;
    const T* match = now.match.lane();
    const T* remove = now.remove.lane();
    const T* insert = now.insert.lane();
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      T values[kTables] = {}, parameters[kParameters + 1] = {};
      T to_tables[kTables], to_parameters[kParameters + 1] = {};
      if constexpr (Family::kFlowReadsTables)
        for (int k = 0; k < kTables; ++k) values[k] = staged[k][s * step_stride(k) + l];
      for (int k = 0; k < kParameters; ++k) parameters[k] = parameters_[k][l];
      to_parameters[kParameters] =
          family.flow(values, parameters, gamma_[l], Arcs<T>{match[l], remove[l], insert[l]}, to_tables, to_parameters);
      for (int k = 0; k < kTables; ++k) table_gradients[k][s * kLanes + l] = to_tables[k];
      for (int k = 0; k <= kParameters; ++k) numbers[k][l] += to_parameters[k];
    }
  }

  // gamma's own part: mass times the entropy of the cell's weights.
  SOFTDP_INLINE void entropy_step(const Word* weights, const T* mass, T (&entropy)[kLanes]) const {
    SOFTDP_INDEPENDENT
    for (int l = 0; l < kLanes; ++l) {
      const Arcs<T> q = StoredWeights<T>::share(weights + l, kLanes, T(1));
      entropy[l] -=
          mass[l] * ((q.match > 0 ? q.match * log(q.match) : T(0)) + (q.remove > 0 ? q.remove * log(q.remove) : T(0)) +
                     (q.insert > 0 ? q.insert * log(q.insert) : T(0)));
    }
  }

  SOFTDP_INLINE void keep_gradients(std::int64_t strip, std::int64_t first, std::int64_t last,
                                    const T (&table_gradients)[kTables][kChunk * kLanes],
                                    const T (&numbers)[kParameters + 1][kLanes]) {
    const std::int64_t steps = last - first;
    for (int k = 0; k < kTables; ++k) {
      if (gradients_->tables[k] == nullptr) continue;
      const Table& table = problem_.tables[k];
      const T* lanes = table_gradients[k];
      if (table.one_column) {
        T sums[kLanes] = {};
        for (std::int64_t s = 0; s < steps; ++s)
          for (int l = 0; l < kLanes; ++l) sums[l] += lanes[s * kLanes + l];
        for (int l = 0; l < kLanes; ++l) lane_sums_[k][strip * kLanes + l] += sums[l];
      } else if (table.one_row) {
        for (std::int64_t s = 0; s < steps; ++s) {
          for (int r = 0; r < rows_; ++r) {
            const std::int64_t j = first + s - r - 1;
            if (j < 0 || j >= m_max_) continue;
            for (int p = 0; p < pairs_; ++p) column_sums_[k][j * pairs_ + p] += lanes[s * kLanes + r * pairs_ + p];
          }
        }
      } else {
        with_element(table.element, [&](auto* type) SOFTDP_INLINE_LAMBDA {
          auto* out = static_cast<decltype(type)>(gradients_->tables[k]);
          const auto row = [&](int p, std::int64_t i)
                               SOFTDP_INLINE_LAMBDA { return out + (pair_[p] * problem_.n + i) * problem_.m; };
          for (int l = 0; l < kLanes; l += 4) {
            LaneRow<std::remove_pointer_t<decltype(type)>> rows[4];
            rows_of(strip, l, row, rows);
            store_lanes(lanes + l, first, last, rows);
          }
        });
      }
    }
    for (int l = 0; l < kLanes; ++l) {
      for (int k = 0; k < kParameters; ++k)
        if (gradients_->parameters[k]) parameter_sums_[k][strip * kLanes + l] += numbers[k][l];
      if (gradients_->gamma) gamma_sums_[strip * kLanes + l] += numbers[kParameters][l];
    }
  }

  // Paid leading gaps: what reaches a cell of the border goes on along it to the start.
  void pay_border() {
    for (int p = 0; p < count_; ++p) {
      double mass = m_[p] == 0 ? seed_[p] : T(0);
      for (std::int64_t i = n_[p]; i > 0; --i) {
        mass += left_.at(i, p).high;
        keep_border_gradients(p, i, 0, {0, T(mass), 0});
      }
      mass = n_[p] == 0 ? seed_[p] : T(0);
      for (std::int64_t j = m_[p]; j > 0; --j) {
        mass += top_.at(j, p).high;
        keep_border_gradients(p, 0, j, {0, 0, T(mass)});
      }
    }
  }

  void keep_border_gradients(int p, std::int64_t i, std::int64_t j, Arcs<T> mass) {
    T values[kTables], parameters[kParameters + 1], to_tables[kTables], to_parameters[kParameters + 1] = {};
    border_inputs(p, i, j, values, parameters);
    const T to_gamma = problem_.family.flow(values, parameters, gamma_[p], mass, to_tables, to_parameters);
    const std::int64_t lane = i > 0 ? (i - 1) / rows_ * kLanes + (i - 1) % rows_ * pairs_ + p : p;
    for (int k = 0; k < kTables; ++k) {
      if (gradients_->tables[k] == nullptr || to_tables[k] == 0) continue;
      if (problem_.tables[k].one_column) {
        lane_sums_[k][lane] += to_tables[k];
      } else if (problem_.tables[k].one_row) {
        column_sums_[k][(j - 1) * pairs_ + p] += to_tables[k];
      }
    }
    for (int k = 0; k < kParameters; ++k)
      if (gradients_->parameters[k]) parameter_sums_[k][lane] += to_parameters[k];
    if (gradients_->gamma) gamma_sums_[lane] += to_gamma;
  }

  double sum_of_lanes(const std::vector<double>& sums, int p) const {
    double sum = 0;
    for (std::size_t lane = p; lane < sums.size(); lane += pairs_) sum += sums[lane];
    return sum;
  }

  // Gradients of a table that is broadcast along n or m; those of a whole table have been written cell by cell.
  template <class E>
  void write_sums(int k, int p, E* /*type*/) const {
    E* out = static_cast<E*>(gradients_->tables[k]);
    if (problem_.tables[k].one_column && problem_.tables[k].one_row) {
      out[pair_[p]] = static_cast<E>(T(sum_of_lanes(lane_sums_[k], p)));
    } else if (problem_.tables[k].one_column) {
      for (std::int64_t i = 0; i < n_[p]; ++i)
        out[pair_[p] * problem_.n + i] = static_cast<E>(T(lane_sums_[k][i / rows_ * kLanes + i % rows_ * pairs_ + p]));
    } else if (problem_.tables[k].one_row) {
      for (std::int64_t j = 0; j < m_[p]; ++j)
        out[pair_[p] * problem_.m + j] = static_cast<E>(T(column_sums_[k][j * pairs_ + p]));
    }
  }

  const Problem<Family, T>& problem_;
  const Gradients<Family, T>* gradients_ = nullptr;
  int pairs_, rows_, count_;
  bool concurrent_;
  std::atomic<bool> general_ = false;  // gamma may be 0 or a value +inf; never back to false
  std::int64_t n_max_ = 0, m_max_ = 0, strips_ = 0, steps_ = 0;
  std::int64_t pair_[kMaxPairs] = {}, n_[kMaxPairs] = {}, m_[kMaxPairs] = {};
  std::int64_t offset_[kTables][kMaxPairs] = {};
  T seed_[kMaxPairs] = {};
  alignas(64) T gamma_[kLanes] = {};
  alignas(64) T scale_[kLanes] = {};
  alignas(64) T parameters_[kParameters + 1][kLanes] = {};
  Border top_, left_;  // values forward, masses backward
  std::vector<StripValues> strip_values_;
  std::vector<StripMasses> strip_masses_;
  std::vector<double> lane_sums_[kTables], column_sums_[kTables], gamma_sums_, parameter_sums_[kParameters + 1];
};

}  // namespace softdp::cpu
