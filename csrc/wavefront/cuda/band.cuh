// Where the weights of a band lie: what is kept goes with what is swept, and how much that is stands in the band's
// values. A block counts it on the GPU, for both sweeps alike, so that the host has to read one number at most.
#pragma once

#include "border.cuh"

namespace softdp::cuda {

template <class Family, class T>
struct BandWork {
  Problem<Family, T> problem;
  std::int64_t* begins;  // columns before each strip's, [pair][strip], and after them how many all have

  std::int64_t strips() const { return product({problem.batch.count, strips_for(problem.n, kRows<T>)}); }
};

template <class Family, class T>
SOFTDP_KERNEL(kBorderThreads)
lay_band_kernel(SOFTDP_CONSTANT BandWork<Family, T> work) {
  const Problem<Family, T>& problem = work.problem;
  const int strip_rows = lanes_for(problem.n, kRows<T>) * kRows<T>;
  const std::int64_t strips = strips_for(problem.n, kRows<T>), all = problem.batch.count * strips;
  double so_far = 0;  // as exact as a whole number: no memory holds 2^53 columns
  for (std::int64_t first = 0; first < all; first += threads_in_block()) {
    const std::int64_t at = first + thread_index();
    double columns = 0;
    if (at < all) {
      const std::int64_t pair = at / strips;
      const int row = int(at % strips) * strip_rows, rows = length_of(problem.n_lengths, pair, problem.n) - row;
      if (rows > 0) {
        const int m = length_of(problem.m_lengths, pair, problem.m);
        const Range range = strip_columns(problem, pair, row, rows < strip_rows ? rows : strip_rows, m);
        columns = double(range.last - range.first);
      }
    }
    const Sum sum = sum_threads(columns, Plus());
    if (at < all) work.begins[at] = std::int64_t(so_far + sum.until - columns);
    so_far += sum.all;
  }
  if (thread_index() == 0) work.begins[all] = std::int64_t(so_far);
}

}  // namespace softdp::cuda
