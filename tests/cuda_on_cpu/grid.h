// The blocks of a launch on the CPU: some are resident, drawn by the seed as they come and go on, the others wait until
// one of these has ended, whatever it waits for.
#pragma once

#include <memory>
#include <numeric>

#include "block.h"

namespace softdp::cuda_on_cpu {

struct Grid {
  void (*body)(const void*);
  const void* arguments;
  std::int64_t blocks;
  int threads;
  std::size_t shared_bytes;
};

// resident: how many blocks at most; 0: as the random numbers have it. Returns what was wrong in one of them.
inline std::string run_grid(const Grid& grid, int resident, Random& random) {
  constexpr int drawn[] = {1, 2, 3, 6, 16};
  if (resident == 0) resident = drawn[random.below(5)];
  constexpr std::uint32_t patience[] = {1, 4, 16};
  const std::uint32_t patience_with_blocks = resident > 1 && grid.blocks > 1 ? patience[random.below(3)] : 0;
  std::vector<std::int64_t> order(std::size_t(grid.blocks));
  std::iota(order.begin(), order.end(), 0);
  random.shuffle(order.data(), std::uint32_t(order.size()));

  static std::vector<std::unique_ptr<Block>> places;
  while (int(places.size()) < resident) places.push_back(std::make_unique<Block>());
  races::begin_launch();
  std::vector<Block*> free, live;
  for (int place = 0; place < resident; ++place) free.push_back(places[std::size_t(place)].get());
  for (Block* block : free) block->begin_launch();

  for (std::size_t begun = 0; begun < order.size() || !live.empty();) {
    const bool may_begin = begun < order.size() && !free.empty();
    if (may_begin && (live.empty() || random.below(2) == 0)) {
      live.push_back(free.back());
      free.pop_back();
      live.back()->begin(grid.body, grid.arguments, order[begun++], grid.threads, grid.shared_bytes,
                         patience_with_blocks, random);
    }
    const std::size_t at = random.below(std::uint32_t(live.size()));
    Block* const block = live[at];
    block->go_on();
    if (!block->fault().empty()) {
      const std::string fault = block->fault();
      for (Block* one : live) one->abandon();
      return fault;
    }
    if (!block->has_ended()) continue;
    block->abandon();
    free.push_back(block);
    live.erase(live.begin() + std::ptrdiff_t(at));
  }
  return "";
}

}  // namespace softdp::cuda_on_cpu
