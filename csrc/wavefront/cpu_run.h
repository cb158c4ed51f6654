// Who sweeps what, when: groups side by side where there are many, tiles of their strips where there are few.
// Compiled for several instruction sets; the best one that this machine has is chosen at run time.
#pragma once

#include <cstdlib>
#include <memory>
#include <numeric>
#include <string_view>

#include "cpu_backward.h"
#include "cpu_forward.h"

namespace softdp::cpu {

#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)  // which prefers the widest, and ignores the attribute for a word that it does not know
#define SOFTDP_WIDEST ""
#else
#define SOFTDP_WIDEST ",prefer-vector-width=512"
#endif
#define SOFTDP_FOR_AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma" SOFTDP_WIDEST), flatten))
#define SOFTDP_FOR_AVX2 __attribute__((target("avx2,fma"), flatten))

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// SOFTDP_INSTRUCTIONS=baseline or avx2 holds back the better ones, to test the others.
inline InstructionSet instruction_set() {
  static const InstructionSet best = [] {
    __builtin_cpu_init();
    const char* name = std::getenv("SOFTDP_INSTRUCTIONS");
    const std::string_view limit = name ? name : "";
    if (limit == "baseline") return InstructionSet::kBaseline;
    if (limit != "avx2" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
      return InstructionSet::kAvx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::kAvx2;
    return InstructionSet::kBaseline;
  }();
  return best;
}

template <class Tile>
SOFTDP_FOR_AVX512 void run_avx512(const Tile& tile) {
  tile();
}
template <class Tile>
SOFTDP_FOR_AVX2 void run_avx2(const Tile& tile) {
  tile();
}
#endif

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

// Whether a * b + c is one instruction, and not a call of a library.
inline bool has_fused_products() {
#if defined(__x86_64__) && defined(__GNUC__)
  return instruction_set() != InstructionSet::kBaseline;
#else
  return true;
#endif
}

// kBaseline: also where products are not fused.
template <bool kBaseline, class Tile>
void run_vectorised(const Tile& tile) {
  const FlushToZero flush;
#if defined(__x86_64__) && defined(__GNUC__)
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return run_avx512(tile);
    case InstructionSet::kAvx2:
      return run_avx2(tile);
    case InstructionSet::kBaseline:
      if constexpr (kBaseline) tile();
      return;
  }
#else
  tile();
#endif
}

// f with a flag as a type: a function compiled for either value.
template <class F>
void with_flag(bool flag, const F& f) {
  flag ? f(std::true_type{}) : f(std::false_type{});
}

constexpr std::int64_t kCellsPerTask = 4096;  // less is not worth another thread

// Pairs in the order in which groups take them: by length, so that a group wastes little on its shorter members.
template <class Family, class T>
std::vector<std::int64_t> order_by_length(const Problem<Family, T>& problem) {
  std::vector<std::int64_t> order(problem.batch.count);
  std::iota(order.begin(), order.end(), 0);
  if (problem.n_lengths == nullptr) return order;
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return std::pair(problem.m_lengths[a], problem.n_lengths[a]) >
           std::pair(problem.m_lengths[b], problem.n_lengths[b]);
  });
  return order;
}

// Calls tile(strip, first_step, last_step) for every tile of every group, each after those it depends on: the tile
// before it in its own strip, and the strip before it one tile further on. kForward: strips and steps ascend from 1,
// else they descend to 0. parallel(count, grain, f): f(begin, end) over parts of 0..count, on several threads.
template <bool kForward, class G, class Parallel, class Begin, class Tile, class End>
void sweep(std::int64_t groups, int threads, std::int64_t cells_per_group, const Parallel& parallel, const Begin& begin,
           const Tile& tile, const End& end) {
  const auto in_order = [](const G& group, std::int64_t s) { return kForward ? s : group.group.strips - 1 - s; };
  if (groups >= threads || cells_per_group < 16 * kCellsPerTask) {
    const std::int64_t grain = std::max<std::int64_t>(1, kCellsPerTask / std::max<std::int64_t>(1, cells_per_group));
    parallel(groups, grain, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t g = first; g < last; ++g) {
        const std::unique_ptr<G> group = begin(g, false);
        for (std::int64_t s = 0; s < group->group.strips; ++s)
          tile(*group, g, in_order(*group, s), kForward ? 1 : 0, group->group.steps);
        end(g, *group);
      }
    });
    return;
  }
  std::vector<std::unique_ptr<G>> members;
  for (std::int64_t g = 0; g < groups; ++g) members.push_back(begin(g, true));
  struct Task {
    std::int64_t group, strip, first, last;
  };
  std::vector<Task> tasks;
  std::int64_t steps = 0, strips = 0;
  for (const auto& group : members) {
    steps = std::max(steps, group->group.steps);
    strips = std::max(strips, group->group.strips);
  }
  // Two phases a strip: about steps / (2 tile) tiles run at a time.
  const std::int64_t tile_steps =
      std::clamp<std::int64_t>(steps / (16 * threads) / kChunk * kChunk, 4 * kChunk, 16 * kChunk);
  const std::int64_t tiles = (steps + tile_steps - 1) / tile_steps;
  for (std::int64_t phase = 0; phase < tiles + 2 * (strips - 1); ++phase) {
    tasks.clear();
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t lowest = kForward ? 1 : 0, highest = members[g]->group.steps;
      for (std::int64_t s = std::max<std::int64_t>(0, (phase - tiles + 2) / 2);
           s < members[g]->group.strips && 2 * s <= phase; ++s) {
        const std::int64_t done = (phase - 2 * s) * tile_steps;
        if (done >= highest - lowest) continue;
        const std::int64_t first = kForward ? lowest + done : std::max(lowest, highest - done - tile_steps);
        const std::int64_t last = kForward ? std::min(highest, first + tile_steps) : highest - done;
        tasks.push_back({g, in_order(*members[g], s), first, last});
      }
    }
    parallel(std::int64_t(tasks.size()), 1, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t k = from; k < to; ++k)
        tile(*members[tasks[k].group], tasks[k].group, tasks[k].strip, tasks[k].first, tasks[k].last);
    });
  }
  for (std::int64_t g = 0; g < groups; ++g) end(g, *members[g]);
}

template <class Family, class T, class Parallel>
struct Runner {
  using Word = typename StoredWeights<T>::Word;

  const Problem<Family, T>& problem;
  const Parallel& parallel;
  int threads;
  Layout layout{problem.batch.count, problem.n, problem.m};
  std::vector<std::int64_t> order = order_by_length(problem);

  // scores [batch]; weights null or as Layout says.
  void forward(T* scores, Word* weights) const {
    std::vector<std::int64_t> groups(layout.groups);
    std::iota(groups.begin(), groups.end(), 0);
    if (has_fused_products()) groups = forward_as<Scaled<T>>(groups, scores, weights);
    forward_as<Exact<T>>(groups, scores, weights);
  }

  void backward(const T* scores, const T* score_gradients, const Word* weights,
                const Gradients<Family, T>& gradients) const {
    using G = Backward<Family, T>;
    bool numbers = gradients.gamma != nullptr;
    for (const T* parameter : gradients.parameters) numbers = numbers || parameter != nullptr;
    sweep<false, G>(
        layout.groups, threads, cells(), parallel,
        [&](std::int64_t g, bool concurrent) {
          return std::make_unique<G>(group(g), scores, score_gradients, gradients, concurrent);
        },
        [&](G& members, std::int64_t g, std::int64_t strip, std::int64_t first, std::int64_t last) {
          const Word* at = weights + words(g, strip);
          with_flag(numbers, [&](auto wanted) {
            run_vectorised<true>(
                [&]() SOFTDP_INLINE_LAMBDA { members.template tile<wanted.value>(strip, first, last, at); });
          });
        },
        [](std::int64_t, G& members) { members.end(); });
  }

 private:
  // Sweeps these groups; returns those that are beyond the form's reach.
  template <class Form>
  std::vector<std::int64_t> forward_as(const std::vector<std::int64_t>& groups, T* scores, Word* weights) const {
    using G = Forward<Family, T, Form>;
    std::vector<std::atomic<bool>> beyond_reach(groups.size());
    sweep<true, G>(
        std::int64_t(groups.size()), threads, cells(), parallel,
        [&](std::int64_t k, bool concurrent) { return std::make_unique<G>(group(groups[k]), scores, concurrent); },
        [&](G& members, std::int64_t k, std::int64_t strip, std::int64_t first, std::int64_t last) {
          Word* at = weights + (weights ? words(groups[k], strip) : 0);
          with_flag(weights != nullptr, [&](auto keep) {
            run_vectorised<G::kExact>(
                [&]() SOFTDP_INLINE_LAMBDA { members.template tile<keep.value>(strip, first, last, at); });
          });
        },
        [&](std::int64_t k, G& members) { beyond_reach[k] = members.beyond_reach(); });
    std::vector<std::int64_t> beyond;
    for (std::size_t k = 0; k < groups.size(); ++k)
      if (beyond_reach[k]) beyond.push_back(groups[k]);
    return beyond;
  }

  Group<Family, T> group(std::int64_t g) const {
    const std::int64_t first = g * layout.pairs;
    return {problem, layout, order.data() + first, int(std::min(layout.pairs, problem.batch.count - first))};
  }

  std::int64_t words(std::int64_t g, std::int64_t strip) const {
    return (g * layout.strips + strip) * layout.words_per_strip(StoredWeights<T>::kWords);
  }

  std::int64_t cells() const { return problem.n * problem.m * layout.pairs; }
};

}  // namespace softdp::cpu
