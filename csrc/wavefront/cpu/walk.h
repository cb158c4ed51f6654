// Paths by the weights that a forward sweep has kept, of any family of the same topology.
#pragma once

#include <optional>

#include "../../recurrence/walk.h"
#include "run.h"

namespace softdp::cpu {

template <class Family, class T>
struct Walker {
  using Word = typename StoredWeights<T>::Word;
  using Topology = typename Family::Topology;

  const Runner<Family, T>& runner;
  const Word* weights;
  const Walks<T>& walks;

  // What is walked at a time is a path of each pair of a group.
  std::int64_t parts() const { return product({runner.layout.groups, walks.of_pair}); }

  void operator()(std::int64_t first, std::int64_t last) const {
    std::optional<Group<Family, T>> group;
    for (std::int64_t part = first, in_hand = -1; part < last; ++part) {
      const std::int64_t g = part / walks.of_pair;
      if (g != in_hand) group.emplace(runner.group(runner.problem, in_hand = g));
      for (int p = 0; p < group->count; ++p) walk(*group, g, p, part % walks.of_pair);
    }
  }

 private:
  void walk(const Group<Family, T>& group, std::int64_t g, int p, std::int64_t k) const {
    constexpr int words = StoredWeights<T>::kWords;
    std::int64_t strip = -1, before = 0;  // steps before those of this strip
    Range range{0, 0};
    walks.template walk<Topology>(
        group.pair[p], k, group.n[p], group.m[p], runner.problem.ends,
        [&](std::int64_t i, std::int64_t j, int place, std::int64_t& stride) -> const Word* {
          if ((i - 1) / group.rows != strip) {
            strip = (i - 1) / group.rows;
            range = group.range(strip);
            before = runner.steps_before(g, strip);
          }
          const std::int64_t row = (i - 1) % group.rows, step = j + row;
          if (step < range.first || step >= range.last || !runner.problem.in_band(group.pair[p], i, j, group.m[p]))
            return nullptr;
          stride = kLanes;
          const std::int64_t at = (before + step - range.first) * kPlaces<Topology> + place;
          return weights + at * words * kLanes + row * group.pairs + p;
        });
  }
};

}  // namespace softdp::cpu
