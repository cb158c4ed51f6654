// Where the gradients of a group go: those of a whole table are written as they come, those of a table that is
// broadcast along n or m and those of numbers are summed.
#pragma once

#include "directed.h"

namespace softdp::cpu {

template <class Family, class T, bool kTangent>
class Sums {
 public:
  static constexpr int kTables = Family::kTables;
  static constexpr int kParameters = Family::kParameters;

  using Members = Directed<Family, T, kTangent>;
  using Number = typename Members::Number;

  Sums(const Members& members, const Gradients<Family, T>& gradients)
      : members_(members), group_(members.group), gradients_(gradients) {
    const Group<Family, T>& group = group_;
    const std::int64_t strips = std::max<std::int64_t>(1, (group.n_max + group.rows - 1) / group.rows);
    const std::int64_t lanes = product({strips, kLanes}), columns = product({group.m_max, group.pairs});
    for (int k = 0; k < kTables; ++k) {
      if (gradients.tables[k] == nullptr) continue;
      if (table(k).one_column) lane_sums_[k] = Memory<double>(lanes);
      if (table(k).one_row) column_sums_[k] = Memory<double>(columns);
    }
    for (int k = 0; k <= kParameters; ++k)
      if (number(k)) number_sums_[k] = Memory<double>(lanes);
  }

  // Gradients of the tables at a strip's steps [first, last), each [step - first][lane].
  SOFTDP_APART void keep(std::int64_t strip, std::int64_t first, std::int64_t last,
                         const T (&table_gradients)[kTables][kChunk * kLanes]) {
    run_vectorised<true>([&]() SOFTDP_INLINE_LAMBDA {
      for (int k = 0; k < kTables; ++k) {
        if (gradients_.tables[k] == nullptr) continue;
        const T* lanes = table_gradients[k];
        if (table(k).one_column) {
          T sums[kLanes] = {};
          for (std::int64_t s = 0; s < last - first; ++s)
            for (int l = 0; l < kLanes; ++l) sums[l] += lanes[s * kLanes + l];
          for (int l = 0; l < kLanes; ++l) lane_sums_[k][strip * kLanes + l] += sums[l];
        } else if (table(k).one_row) {
          keep_columns(column_sums_[k], first, last, lanes);
        } else {
          with_element<T>(table(k).element, [&](auto* type) SOFTDP_INLINE_LAMBDA {
            auto* out = static_cast<decltype(type)>(gradients_.tables[k]);
            const std::int64_t n = group_.problem.n, m = group_.problem.m;
            const auto row_of = [&](int p, std::int64_t i)
                                    SOFTDP_INLINE_LAMBDA { return out + (group_.pair[p] * n + i) * m; };
            for (int l = 0; l < kLanes; l += 4) {
              LaneRow<std::remove_pointer_t<decltype(type)>> lane_rows[4];
              group_.rows_of(strip, l, row_of, lane_rows);
              store_lanes(lanes + l, first, last, lane_rows);
            }
          });
        }
      }
    });
  }

  // What a strip adds to the gradients of the parameters and, last, of gamma.
  SOFTDP_APART void keep_numbers(std::int64_t strip, const double (&numbers)[kParameters + 1][kLanes]) {
    for (int k = 0; k <= kParameters; ++k) {
      if (number(k) == nullptr) continue;
      for (int l = 0; l < kLanes; ++l) number_sums_[k][strip * kLanes + l] += numbers[k][l];
    }
  }

  // From the mass on an arc of this potential into a cell of the border.
  void keep_border(int p, std::int64_t i, std::int64_t j, int potential, Number on_arc) {
    Potentials<Family, Number> mass = {};
    mass[potential] = on_arc;
    Number values[kTables], parameters[kParameters + 1], flowing[kTables], numbers[kParameters + 1] = {};
    members_.border_inputs(p, i, j, values, parameters);
    numbers[kParameters] = group_.problem.family.flow(values, parameters, members_.gamma(p), mass, flowing, numbers);
    T to_tables[kTables], to_numbers[kParameters + 1];
    for (int k = 0; k < kTables; ++k) to_tables[k] = wanted(flowing[k]);
    for (int k = 0; k <= kParameters; ++k) to_numbers[k] = wanted(numbers[k]);
    const std::int64_t lane = i > 0 ? (i - 1) / group_.rows * kLanes + (i - 1) % group_.rows * group_.pairs + p : p;
    for (int k = 0; k < kTables; ++k) {
      if (gradients_.tables[k] == nullptr || to_tables[k] == 0) continue;
      if (table(k).one_column) {
        lane_sums_[k][lane] += to_tables[k];
      } else if (table(k).one_row) {
        column_sums_[k][(j - 1) * group_.pairs + p] += to_tables[k];
      }
    }
    for (int k = 0; k <= kParameters; ++k)
      if (number(k)) number_sums_[k][lane] += to_numbers[k];
  }

  // All that has been summed.
  void write() const {
    for (int p = 0; p < group_.count; ++p) {
      for (int k = 0; k < kTables; ++k) {
        if (gradients_.tables[k] == nullptr) continue;
        with_element<T>(table(k).element, [&](auto* type) { write_table(k, p, type); });
      }
      for (int k = 0; k <= kParameters; ++k) {
        if (number(k) == nullptr) continue;
        const double sum = sum_of_lanes(number_sums_[k], p);
        // gamma rises with the value, which is minus the score when minimising.
        number(k)[group_.pair[p]] = T(k == kParameters && group_.problem.family.minimise ? -sum : sum);
      }
    }
  }

 private:
  const Table& table(int k) const { return group_.problem.tables[k]; }

  // Where the gradient of parameter k goes, or, last, that of gamma; null where nobody asks.
  T* number(int k) const { return k < kParameters ? gradients_.parameters[k] : gradients_.gamma; }

  SOFTDP_INLINE void keep_columns(Memory<double>& sums, std::int64_t first, std::int64_t last, const T* lanes) const {
    for (std::int64_t s = 0; s < last - first; ++s) {
      for (int r = 0; r < group_.rows; ++r) {
        const std::int64_t j = first + s - r - 1;
        if (j < 0 || j >= group_.m_max) continue;
        const T* row = lanes + s * kLanes + r * group_.pairs;
        for (int p = 0; p < group_.pairs; ++p) sums[j * group_.pairs + p] += row[p];
      }
    }
  }

  double sum_of_lanes(const Memory<double>& sums, int p) const {
    double sum = 0;
    for (std::int64_t lane = p; lane < sums.size(); lane += group_.pairs) sum += sums[lane];
    return sum;
  }

  template <class E>
  void write_table(int k, int p, E* /*type*/) const {
    E* out = static_cast<E*>(gradients_.tables[k]);
    const std::int64_t pair = group_.pair[p], pairs = group_.pairs, rows = group_.rows;
    if (table(k).one_column && table(k).one_row) {
      out[pair] = static_cast<E>(T(sum_of_lanes(lane_sums_[k], p)));
    } else if (table(k).one_column) {
      for (std::int64_t i = 0; i < group_.n[p]; ++i)
        out[pair * group_.problem.n + i] = static_cast<E>(T(lane_sums_[k][i / rows * kLanes + i % rows * pairs + p]));
    } else if (table(k).one_row) {
      for (std::int64_t j = 0; j < group_.m[p]; ++j)
        out[pair * group_.problem.m + j] = static_cast<E>(T(column_sums_[k][j * pairs + p]));
    }
  }

  const Members& members_;
  const Group<Family, T>& group_;
  const Gradients<Family, T>& gradients_;
  Memory<double> lane_sums_[kTables], column_sums_[kTables];
  Memory<double> number_sums_[kParameters + 1];  // the parameters', then gamma's
};

}  // namespace softdp::cpu
