// Paths by the weights that a forward sweep has kept, of any family of the same topology: a thread for each, as what
// an arc leads to is known when it has been chosen. Must move: the weights of a path's cells, each a line of its own.
#pragma once

#include "../../recurrence/walk.h"
#include "run.cuh"

namespace softdp::cuda {

constexpr int kWalkThreads = 128;  // of a block

template <class Family, class T>
struct WalkWork {
  using Word = typename StoredWeights<T>::Word;
  using Topology = typename Family::Topology;

  Problem<Family, T> problem;
  Walks<T> walks;
  const Word* weights;         // [pair][strip][column][place][word][lane][row]
  const std::int64_t* begins;  // with a band: columns before each strip's, [pair][strip]
  std::int64_t kept;           // with a band: how many columns the weights have
};

// The weights of a pair's cells, where Team has the sweeps put them.
template <class Family, class T>
struct WeightsOfPair {
  using Word = typename StoredWeights<T>::Word;

  const WalkWork<Family, T>& work;
  const std::int64_t pair;
  const int n, m;
  bool there;

  SOFTDP_DEVICE WeightsOfPair(const WalkWork<Family, T>& work, std::int64_t pair)
      : work(work),
        pair(pair),
        n(length_of(work.problem.n_lengths, pair, work.problem.n)),
        m(length_of(work.problem.m_lengths, pair, work.problem.m)),
        there(true) {
    // Or these weights are not this band's.
    if (work.begins != nullptr)
      there = work.begins[work.problem.batch.count * strips_for(work.problem.n, kRows<T>)] == work.kept;
  }

  SOFTDP_DEVICE const Word* operator()(std::int64_t i, std::int64_t j, int place, std::int64_t& stride) const {
    const Problem<Family, T>& problem = work.problem;
    const int lanes = lanes_for(problem.n, kRows<T>), rows = lanes * kRows<T>;
    const int strip = int(i - 1) / rows, row = int(i - 1) % rows;
    const std::int64_t at = pair * strips_for(problem.n, kRows<T>) + strip;
    Range columns{0, m};
    if (work.begins != nullptr) {
      const int left = n - strip * rows;
      columns = strip_columns(problem, pair, strip * rows, left < rows ? left : rows, m);
    }
    if (!there || j <= columns.first || j > columns.last || !problem.in_band(pair, i, j, m)) return nullptr;
    const std::int64_t before = work.begins != nullptr ? work.begins[at] : at * problem.m;
    const std::int64_t line = before + (j - 1 + row / kRows<T>) % (columns.last - columns.first);
    stride = rows;
    return work.weights + (line * kPlaces<typename Family::Topology> + place) * StoredWeights<T>::kWords * rows + row;
  }
};

template <class Family, class T>
SOFTDP_KERNEL(kWalkThreads)
walk_kernel(SOFTDP_CONSTANT WalkWork<Family, T> work) {
  const std::int64_t at = block_index() * threads_in_block() + thread_index();
  if (at >= work.problem.batch.count * work.walks.of_pair) return;
  const std::int64_t pair = at / work.walks.of_pair;
  const WeightsOfPair<Family, T> weights(work, pair);
  work.walks.template walk<typename Family::Topology>(pair, at % work.walks.of_pair, weights.n, weights.m,
                                                      work.problem.ends, weights);
}

// As forward() in run.cuh has its scratch.
template <class Family, class T>
const char* walk(const Problem<Family, T>& problem, const Walks<T>& walks,
                 const typename StoredWeights<T>::Word* weights, std::int64_t weights_numel, Scratch& scratch,
                 Stream stream) {
  WalkWork<Family, T> work{problem, walks, weights, nullptr, 0};
  if (problem.band != nullptr) {
    work.kept = weights_numel / weights_per_column<T>(problem.n, kPlaces<typename Family::Topology>);
    if (const char* error = lay_band(problem, scratch, stream, work.begins)) return error;
  }
  if (scratch.begin == nullptr) return nullptr;
  const std::int64_t all = product({problem.batch.count, walks.of_pair});
  return launch(walk_kernel<Family, T>, {(all + kWalkThreads - 1) / kWalkThreads, kWalkThreads}, stream, work);
}

}  // namespace softdp::cuda
