// Who sweeps what, when: groups side by side where there are many, tiles of their strips where there are few.
#pragma once

#include <memory>
#include <numeric>

#include "backward.h"
#include "forward.h"
#include "tangent.h"
#include "tiles.h"

namespace softdp::cpu {

// Results below the smallest normal number become 0 while this lives: products of small weights and masses get there
// often, mean nothing, and cost a hundred cycles each on some processors.
class FlushToZero {
 public:
#if defined(__x86_64__) && defined(__GNUC__)
  FlushToZero() : before_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(before_ | 0x8000); }
  ~FlushToZero() { __builtin_ia32_ldmxcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__) && defined(__GNUC__)
  FlushToZero() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" : : "r"(before_ | (1ull << 24)));
  }
  ~FlushToZero() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  std::uint64_t before_;
#endif
};

// A tile of a sweep, by the best instructions. kBaseline: also where products are not fused.
template <bool kBaseline, class Tile>
void run_tile(const Tile& tile) {
  const FlushToZero flush;
  run_vectorised<kBaseline>(tile);
}

// f with a flag as a type: a function compiled for either value.
template <class F>
void with_flag(bool flag, const F& f) {
  flag ? f(std::true_type{}) : f(std::false_type{});
}

// Pairs in the order in which groups take them: by length, so that a group wastes little on its shorter members.
template <class Family, class T>
Memory<std::int64_t> order_by_length(const Problem<Family, T>& problem) {
  Memory<std::int64_t> order(problem.batch.count);
  std::iota(order.begin(), order.end(), 0);
  if (problem.n_lengths == nullptr) return order;
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return std::pair(problem.m_lengths[a], problem.n_lengths[a]) >
           std::pair(problem.m_lengths[b], problem.n_lengths[b]);
  });
  return order;
}

template <class Family, class T>
struct Runner {
  using Word = typename StoredWeights<T>::Word;

  const Problem<Family, T>& problem;
  int threads;
  Layout layout{problem.batch.count, problem.n, problem.m};
  Memory<std::int64_t> order = order_by_length(problem);
  Memory<std::int64_t> banded = steps_in_band();  // where each strip's begin

  static constexpr int kPlaces = softdp::kPlaces<typename Family::Topology>;
  static constexpr int kWords = StoredWeights<T>::kWords * kPlaces;
  static constexpr int kChanges = kWeightTangents * kPlaces;

  // Words of the weights of all strips: those of a strip lie at [step of its range][place][word][lane].
  std::int64_t weights_numel() const { return product({steps_before(layout.groups, 0), kWords, kLanes}); }

  // weights: null or weights_numel() words.
  void forward(const Outputs<T>& outputs, Word* weights) const {
    std::vector<std::int64_t> groups, hard;
    for (std::int64_t g = 0; g < layout.groups; ++g) (has_fused_products() && is_hard(g) ? hard : groups).push_back(g);
    if (!hard.empty()) forward_as<Exact<T, true>>(hard, outputs, weights);
    if (has_fused_products()) groups = forward_as<Scaled<T>>(groups, outputs, weights);
    forward_as<Exact<T>>(groups, outputs, weights);
  }

  void backward(const Upstream<T>& upstream, const Word* weights, const Gradients<Family, T>& gradients) const {
    sweep_back<Backward<Family, T>>(upstream, weights, nullptr, gradients,
                                    [&](std::int64_t g) { return Directed<Family, T, false>{group(problem, g)}; });
  }

  // How the outputs of forward() change along a direction. changes: of its weights, or null.
  void tangent(const Problem<Family, T>& direction, const Kept<T>& kept, const Word* weights, const Outputs<T>& outputs,
               T* changes) const {
    using G = Tangent<Family, T>;
    sweep<true, G>(
        layout, layout.groups, threads, divisible(),
        [&](std::int64_t g, bool concurrent) {
          return std::make_unique<G>(along(direction, g), kept, outputs, concurrent);
        },
        [&](G& members, std::int64_t g, std::int64_t strip, std::int64_t first, std::int64_t last) {
          const std::int64_t before = steps_before(g, strip) * kLanes;
          T* of_weights = changes ? changes + before * kChanges : nullptr;
          run_tile<true>(
              [&]() SOFTDP_INLINE_LAMBDA { members.tile(strip, first, last, weights + before * kWords, of_weights); });
        },
        [](std::int64_t, G&) {});
  }

  // How the results of backward() change along it.
  void tangent_backward(const Problem<Family, T>& direction, const Upstream<T>& upstream, const Word* weights,
                        const T* changes, const Gradients<Family, T>& gradients) const {
    sweep_back<Backward<Family, T, true>>(upstream, weights, changes, gradients,
                                          [&](std::int64_t g) { return along(direction, g); });
  }

  Group<Family, T> group(const Problem<Family, T>& of, std::int64_t g) const {
    const std::int64_t first = g * layout.pairs;
    return {of, layout, order.data() + first, int(std::min(layout.pairs, problem.batch.count - first))};
  }

  // Steps of all strips before this one, as far as weights are kept of them.
  std::int64_t steps_before(std::int64_t g, std::int64_t strip) const {
    const std::int64_t k = g * layout.strips + strip;
    return problem.band ? banded[k] : product({k, layout.steps});
  }

 private:
  // Whether none of the pairs of a group is smoothed.
  bool is_hard(std::int64_t g) const {
    const std::int64_t first = g * layout.pairs, last = std::min(first + layout.pairs, problem.batch.count);
    for (std::int64_t k = first; k < last; ++k)
      if (problem.gamma[order[k]] != 0) return false;
    return true;
  }

  // Sweeps these groups; returns those that are beyond the form's reach.
  template <class Form>
  std::vector<std::int64_t> forward_as(const std::vector<std::int64_t>& groups, const Outputs<T>& outputs,
                                       Word* weights) const {
    using G = Forward<Family, T, Form>;
    std::vector<std::atomic<bool>> beyond_reach(groups.size());
    sweep<true, G>(
        layout, std::int64_t(groups.size()), threads, divisible(),
        [&](std::int64_t k, bool concurrent) {
          return std::make_unique<G>(group(problem, groups[k]), outputs, concurrent);
        },
        [&](G& members, std::int64_t k, std::int64_t strip, std::int64_t first, std::int64_t last) {
          Word* at = weights + (weights ? steps_before(groups[k], strip) * kWords * kLanes : 0);
          with_flag(weights != nullptr, [&](auto keep) {
            run_tile<G::kExact && !G::kHard>(
                [&]() SOFTDP_INLINE_LAMBDA { members.template tile<keep.value>(strip, first, last, at); });
          });
        },
        [&](std::int64_t k, G& members) { beyond_reach[k] = members.beyond_reach(); });
    std::vector<std::int64_t> beyond;
    for (std::size_t k = 0; k < groups.size(); ++k)
      if (beyond_reach[k]) beyond.push_back(groups[k]);
    return beyond;
  }

  // With a band a strip also says what lies between its columns and those of the next strip, for all pairs of its
  // group: pairs that are not as long, or have other columns, may still be swept there, by a strip before.
  bool divisible() const { return !problem.band || layout.pairs == 1; }

  template <class G, class MembersOf>
  void sweep_back(const Upstream<T>& upstream, const Word* weights, const T* changes,
                  const Gradients<Family, T>& gradients, const MembersOf& members_of) const {
    bool numbers = gradients.gamma != nullptr;
    for (const T* parameter : gradients.parameters) numbers = numbers || parameter != nullptr;
    sweep<false, G>(
        layout, layout.groups, threads, divisible(),
        [&](std::int64_t g, bool concurrent) {
          return std::make_unique<G>(members_of(g), upstream, gradients, concurrent);
        },
        [&](G& members, std::int64_t g, std::int64_t strip, std::int64_t first, std::int64_t last) {
          const std::int64_t before = steps_before(g, strip) * kLanes;
          const T* of_weights = changes ? changes + before * kChanges : nullptr;
          with_flag(numbers, [&](auto wanted) {
            run_tile<true>([&]() SOFTDP_INLINE_LAMBDA {
              members.template tile<wanted.value>(strip, first, last, weights + before * kWords, of_weights);
            });
          });
        },
        [](std::int64_t, G& members) { members.end(); });
  }

  Directed<Family, T, true> along(const Problem<Family, T>& direction, std::int64_t g) const {
    return {group(problem, g), group(direction, g)};
  }

  // With a band strips have as many steps as it leaves them.
  Memory<std::int64_t> steps_in_band() const {
    if (!problem.band) return {};
    Memory<std::int64_t> steps(product({layout.groups, layout.strips}) + 1);
    std::int64_t k = 0;
    for (std::int64_t g = 0; g < layout.groups; ++g) {
      const Group<Family, T> members = group(problem, g);
      for (std::int64_t s = 0; s < layout.strips; ++s, ++k) {
        const Range range = s < members.strips ? members.range(s) : Range{0, 0};
        steps[k + 1] = sum(steps[k], range.last - range.first);
      }
    }
    return steps;
  }
};

}  // namespace softdp::cpu
