// What is swept when, and by which thread; nothing of what a tile holds.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "helpers.h"
#include "stage.h"

namespace softdp::cpu {

// The strips of a group in blocks of `height`, in the order of the sweep; a strip is a row of tiles. A tile may be
// swept after those it depends on: the tile before it in its own strip, and the strip before it one tile further on (or
// to its end). A block is swept in turns by one thread at a time. In turn t its strip i has its turn t - i, if that is
// a tile, after strip i - 1; so a block's first strip is what has to wait for the block before.
class Blocks {
 public:
  // A block that one thread holds, and the turn that it is to take.
  struct Hold {
    std::int64_t block, turn;
    std::int64_t before;  // turns that the block before is known to have taken
  };

  // Before other threads know of it.
  void reset(std::int64_t strips, std::int64_t tiles, std::int64_t height) {
    height_ = height;
    turns_ = tiles + height - 1;
    progress_ = std::vector<std::atomic<std::int64_t>>((strips + height - 1) / height);
  }

  std::int64_t height() const { return height_; }

  // A block whose next turn may be taken now. None: there is none now, or none any more.
  std::optional<Hold> take() {
    for (std::int64_t b = finished_.load(std::memory_order_relaxed); b < std::int64_t(progress_.size()); ++b) {
      std::int64_t progress = progress_[b].load(std::memory_order_relaxed);
      Hold hold{b, progress / 2, 0};
      if (progress % 2 == 0 && hold.turn < turns_ && is_ready(hold) &&
          progress_[b].compare_exchange_strong(progress, progress + 1, std::memory_order_acquire,
                                               std::memory_order_relaxed))
        return hold;
      if (progress == 0) break;  // those after it wait for it
    }
    return {};
  }

  // The turn has been taken: on to the next of its block, if that may be taken now. False: the block is let go.
  bool advance(Hold& hold) {
    const bool on = ++hold.turn < turns_ && is_ready(hold);
    progress_[hold.block].store(2 * hold.turn + on, std::memory_order_release);
    if (hold.turn == turns_) finished_.store(hold.block + 1, std::memory_order_relaxed);
    return on;
  }

  // Whether the turn before this was the last of all.
  bool is_end(const Hold& hold) const {
    return hold.turn == turns_ && hold.block + 1 == std::int64_t(progress_.size());
  }

 private:
  // A block that is ready stays so: the one before it only goes on.
  bool is_ready(Hold& hold) const {
    const std::int64_t needed = std::min(hold.turn + height_ + 1, turns_);
    if (hold.block == 0 || hold.before >= needed) return true;
    hold.before = progress_[hold.block - 1].load(std::memory_order_acquire) / 2;
    return hold.before >= needed;
  }

  std::int64_t height_ = 1, turns_ = 0;
  // Twice the turns that a block has taken, and one more while a thread holds it. What tiles share, the rest of a strip
  // and the row between two strips, is written before a store here and read after a load that found it, or more:
  // - A turn ends with a release. The next of its block is the same thread's, or begins with an acquire.
  // - The block before is loaded with an acquire. What is found was stored by a release of that turn, or of a later one
  //   whose thread had acquired it; or left by the taking of the block, which as a read-modify-write continues the
  //   release that it found.
  // - So a turn comes after all that the turns it waited for came after, from block to block up to the first. Nor does
  //   it overwrite what is still to be read: whoever reads what it overwrites was among those.
  std::vector<std::atomic<std::int64_t>> progress_;
  std::atomic<std::int64_t> finished_ = 0;  // blocks before this one are done; may be behind, which does no harm
};

constexpr std::int64_t kTileSteps = 2 * kChunk;
static_assert(kTileSteps > kLanes + kMaxPairs, "a strip is its rows ahead of the next, and what it copies beside");
constexpr std::int64_t kCellsToHelp = 32768;   // less is not worth another thread
constexpr std::int64_t kCellsToShare = 65536;  // a smaller group is not worth being taken apart

// How many threads are of use in a sweep of so many groups, and what they share.
struct Division {
  std::int64_t groups;
  int threads;             // of those that may be had
  std::int64_t alone;      // groups that one thread sweeps from one end to the other; those after them are shared
  std::int64_t at_a_time;  // groups that a thread takes at a time

  Division(const Layout& layout, std::int64_t its_groups, int most_threads, bool divisible)
      : groups(its_groups), alone(its_groups) {
    const double cells = std::max(1.0, double(layout.strips) * double(layout.steps) * kLanes);
    const bool share = divisible && cells >= kCellsToShare;
    // Tiles of a shared group that can be at work side by side: every second one along a strip.
    const std::int64_t abreast = share ? std::min(layout.strips, (layout.steps / kTileSteps + 1) / 2) : 1;
    const double useful = double(groups) * std::min(double(abreast), cells / kCellsToHelp);
    threads = int(std::clamp<double>(useful, 1, most_threads));
    if (share && threads > 1) alone = std::max<std::int64_t>(0, groups - threads);
    at_a_time = std::clamp<std::int64_t>(std::int64_t(kCellsToShare / cells), 1,
                                         std::max<std::int64_t>(1, groups / (4 * threads)));
  }
};

// A sweep of groups by as many threads as come: each takes one group after the other, and at the end has a hand in
// those that are shared, so that nobody waits for a whole group. kForward: strips and steps ascend from 1, else they
// descend to 0.
template <bool kForward, class G, class Begin, class Tile, class End>
class Sweep final : public Work {
 public:
  Sweep(const Division& division, const Begin& begin, const Tile& tile, const End& end)
      : division_(division), begin_(begin), tile_(tile), end_(end), shared_(division.groups - division.alone) {}

  void take_part() noexcept override {
    Patience patience;
    while (unfinished_.load(std::memory_order_acquire) > 0) {
      if (take_groups() || help()) {
        patience = {};
      } else {
        patience.wait();
      }
    }
  }

  // After take_part(): throws what kept a group from being begun.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Shared {
    std::unique_ptr<G> group;
    Blocks blocks;
    std::atomic<bool> begun = false;
  };

  bool take_groups() {
    if (next_.load(std::memory_order_relaxed) >= division_.groups) return false;
    const std::int64_t first = next_.fetch_add(division_.at_a_time, std::memory_order_relaxed);
    const std::int64_t last = std::min(division_.groups, first + division_.at_a_time);
    for (std::int64_t k = first; k < last; ++k) {
      try {
        k < division_.alone ? sweep_alone(k) : share(k);
      } catch (...) {
        if (!failed_.test_and_set()) error_ = std::current_exception();
        unfinished_.fetch_sub(1, std::memory_order_release);
      }
    }
    return first < last;
  }

  void sweep_alone(std::int64_t k) {
    std::unique_ptr<G> group = begin_(k, false);
    for (std::int64_t s = 0; s < group->group.strips; ++s)
      tile_(*group, k, in_order(*group, s), kLowest, group->group.steps);
    finish(k, std::move(group));
  }

  void share(std::int64_t k) {
    Shared& shared = shared_[k - division_.alone];
    shared.group = begin_(k, true);
    const std::int64_t strips = shared.group->group.strips;
    if (strips == 0) return finish(k, std::move(shared.group));
    shared.blocks.reset(strips, tiles(*shared.group), height(strips, tiles(*shared.group)));
    shared.begun.store(true, std::memory_order_release);
    sweep_shared(k);
  }

  // Strips of one block hand on what is in their thread's cache, those of two blocks what is in another's: as high as
  // leaves each thread many blocks, and twice as many under way as there are threads.
  std::int64_t height(std::int64_t strips, std::int64_t tiles) const {
    const std::int64_t under_way = 2 * division_.threads;
    const std::int64_t highest = std::min((tiles - 1 - under_way) / (under_way - 1), strips / (8 * under_way));
    return std::clamp<std::int64_t>(highest, 1, 8);
  }

  bool help() {
    for (std::int64_t k = division_.alone; k < division_.groups; ++k)
      if (shared_[k - division_.alone].begun.load(std::memory_order_acquire) && sweep_shared(k)) return true;
    return false;
  }

  // What this thread finds ready of a shared group. False: nothing.
  bool sweep_shared(std::int64_t k) {
    Shared& shared = shared_[k - division_.alone];
    bool any = false;
    while (auto hold = shared.blocks.take()) {
      any = true;
      do {
        sweep_turn(k, shared, *hold);
      } while (shared.blocks.advance(*hold));
      if (shared.blocks.is_end(*hold)) {
        finish(k, std::move(shared.group));
        break;
      }
    }
    return any;
  }

  void sweep_turn(std::int64_t k, const Shared& shared, const Blocks::Hold& hold) const {
    G& group = *shared.group;
    const std::int64_t height = shared.blocks.height(), top = hold.block * height, all = tiles(group);
    for (std::int64_t i = 0; i < std::min(height, group.group.strips - top); ++i)
      if (hold.turn >= i && hold.turn - i < all) sweep_tile(k, group, top + i, hold.turn - i);
  }

  void sweep_tile(std::int64_t k, G& group, std::int64_t s, std::int64_t t) const {
    const std::int64_t highest = group.group.steps, done = t * kTileSteps;
    const std::int64_t first = kForward ? kLowest + done : std::max(kLowest, highest - done - kTileSteps);
    const std::int64_t last = kForward ? std::min(highest, first + kTileSteps) : highest - done;
    tile_(group, k, in_order(group, s), first, last);
  }

  void finish(std::int64_t k, std::unique_ptr<G> group) {
    end_(k, *group);
    group.reset();  // before the caller goes on
    unfinished_.fetch_sub(1, std::memory_order_release);
  }

  static constexpr std::int64_t kLowest = kForward ? 1 : 0;

  static std::int64_t tiles(const G& group) { return (group.group.steps - kLowest + kTileSteps - 1) / kTileSteps; }
  static std::int64_t in_order(const G& group, std::int64_t s) { return kForward ? s : group.group.strips - 1 - s; }

  const Division division_;
  // The caller's, and there for as long as any group is unfinished.
  const Begin& begin_;
  const Tile& tile_;
  const End& end_;
  std::vector<Shared> shared_;
  std::atomic<std::int64_t> next_ = 0, unfinished_ = division_.groups;
  std::atomic_flag failed_;
  std::exception_ptr error_;
};

// begin(k, concurrent) makes group k; tile(group, k, strip, first_step, last_step) is called for all of it, in parts of
// any size, each after those that it depends on; end(k, group) after all of them. Results do not depend on the threads.
// divisible: whether two threads may be at one group.
template <bool kForward, class G, class Begin, class Tile, class End>
void sweep(const Layout& layout, std::int64_t groups, int most_threads, bool divisible, const Begin& begin,
           const Tile& tile, const End& end) {
  const Division division(layout, groups, most_threads, divisible);
  const auto work = std::make_shared<Sweep<kForward, G, Begin, Tile, End>>(division, begin, tile, end);
  if (division.threads == 1) {
    work->take_part();
  } else if (!Region::take_part(*work, division.threads)) {
    Helpers::of_this_process().ask(work, division.threads - 1);
    work->take_part();
    Helpers::of_this_process().dismiss(work);
  }
  work->rethrow();
}

}  // namespace softdp::cpu
