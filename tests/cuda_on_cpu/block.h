// The life of a block on the CPU. Its threads are fibers; a lane runs until it meets the others of its warp in a
// collective call, and whoever comes last looks whether all 32 made the same call, and draws the order in which they,
// or another warp, go on. So what threads do between two synchronisations is done in any order, by the seed. Where
// other blocks are resident (grid.h), one lets them go on at such calls, and whenever a lane waits for what they write.
#pragma once

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "arrival.h"
#include "fiber.h"
#include "l1.h"
#include "races.h"

namespace softdp::cuda_on_cpu {

constexpr int kMaxThreads = 1024;

// Read when it is issued or when it is waited for, by the seed; both are allowed. Written when it is waited for.
struct AsyncCopy {
  std::byte* to;
  const std::byte* from;
  std::size_t bytes;
  std::int64_t group;
  bool read;
  std::byte value[16];
};

struct Thread;

struct Warp {
  Thread* lanes = nullptr;
  std::uint8_t order[kLanes];
  int position = 0;           // in the order: the lane that runs next
  Thread* waiting = nullptr;  // the lane that runs, when it waits for what another block writes
};

struct Thread {
  Fiber fiber;
  int index = 0;
  Warp* warp = nullptr;
  Arrival arrival;
  std::vector<AsyncCopy> copies;  // issued and not done, oldest first
  std::int64_t groups = 0;        // committed
};

inline Thread* running = nullptr;  // null on the host

class Block {
 public:
  Block() : host_(Fiber::of_the_host()), threads_(kMaxThreads) {
    for (int t = 0; t < kMaxThreads; ++t) threads_[t].index = t;
  }

  // `body(arguments)` in each thread, as go_on() has them run.
  void begin(void (*body)(const void*), const void* arguments, std::int64_t index, int threads,
             std::size_t shared_bytes, std::uint32_t patience_with_blocks, Random& random) {
    body_ = body, arguments_ = arguments, index_ = index, random_ = &random;
    patience_with_blocks_ = patience_with_blocks;
    fault_.clear();
    for (; begun_ < threads; ++begun_) threads_[begun_].fiber.begin(&live);
    // A warp works on for long, or another follows at every call: each finds what the other would not.
    constexpr std::uint32_t patience[] = {1, 4, 1u << 30};
    patience_ = patience[random.below(3)];
    reads_late_ = random.below(2) == 0;

    void* memory = nullptr;
    if (posix_memalign(&memory, 16, shared_bytes) != 0) std::abort();
    shared_ = static_cast<std::byte*>(memory), shared_bytes_ = shared_bytes;
    poison(shared_, shared_bytes);
    races::begin_block(this, shared_, shared_bytes);

    warps_.assign(std::size_t(threads / kLanes), Warp());
    ready_.clear(), waiting_.clear();
    for (int w = 0; w < int(warps_.size()); ++w) {
      warps_[w].lanes = &threads_[w * kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        warps_[w].lanes[lane].warp = &warps_[w];
        warps_[w].order[lane] = std::uint8_t(lane);
      }
      make_ready(w);
    }
    next_ = nullptr;
    waits_in_vain_ = 0;
  }

  // Until it lets others go on: has_ended(), or there was a fault, or neither.
  void go_on();

  bool has_ended() const { return ready_.empty() && waiting_.empty(); }
  // Leaves its threads where they are.
  void abandon() {
    std::free(shared_);
    for (int t = 0; t < threads() && !has_ended(); ++t) {
      threads_[t].fiber.begin(&live);
      threads_[t].copies.clear();
      threads_[t].groups = 0;
    }
  }
  void begin_launch() {
    l1_.empty();
    stored_.clear();
  }

  std::int64_t index() const { return index_; }
  int threads() const { return int(warps_.size()) * kLanes; }
  std::byte* shared_memory() const { return shared_; }
  const std::string& fault() const { return fault_; }

  // The running thread's part in a collective call; returns what it takes away.
  SOFTDP_UNWATCHED std::uint64_t meet(Call call, int argument, int width, std::uint64_t bits, const Place& place) {
    Thread& self = *running;
    self.arrival = {call, argument, width, bits, place};
    waits_in_vain_ = 0;
    Warp& warp = *self.warp;
    Thread* next = warp.position < kLanes ? next_lane(warp) : after_meeting(warp);
    if (next != &self) run_on(&self, next);
    return self.arrival.bits;
  }

  __attribute__((noinline)) void copy_async(void* to, const void* from, std::size_t bytes, const Place& place) {
    AsyncCopy copy{
        static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes, running->groups, !reads_late_, {}};
    const auto check = [&](bool holds, const char* otherwise) {
      if (!holds) fail("is at copy_async<" + std::to_string(bytes) + "> (" + words(place) + ") " + otherwise);
    };
    check(reinterpret_cast<std::uintptr_t>(to) % bytes == 0, "to an address that is not aligned to as many bytes");
    check(reinterpret_cast<std::uintptr_t>(from) % bytes == 0, "from an address that is not aligned to as many bytes");
    check(copy.to >= shared_ && copy.to + bytes <= shared_ + shared_bytes_, "to what is not the block's shared memory");
    races::access(from, bytes, false, __builtin_return_address(0), way_of(bytes));
    races::access(to, bytes, true, __builtin_return_address(0));
    move(copy.value, from, bytes);  // late or not: here a sanitizer's report tells the place
    if (copy.read) read(copy);
    poison(to, bytes);
    ASAN_POISON_MEMORY_REGION(to, bytes);  // of 4 bytes that are no end of 8 it sees nothing
    running->copies.push_back(copy);
  }

  void commit_copies() { ++running->groups; }

  __attribute__((noinline)) void wait_for_copies(int pending) {
    Thread& self = *running;
    std::size_t done = 0;
    for (; done < self.copies.size() && self.copies[done].group < self.groups - pending; ++done) {
      AsyncCopy& copy = self.copies[done];
      if (!copy.read) read(copy);
      races::access(copy.from, copy.bytes, false, __builtin_return_address(0), way_of(copy.bytes));
      races::access(copy.to, copy.bytes, true, __builtin_return_address(0));
      ASAN_UNPOISON_MEMORY_REGION(copy.to, copy.bytes);
      move(copy.to, copy.value, copy.bytes);
    }
    self.copies.erase(self.copies.begin(), self.copies.begin() + std::ptrdiff_t(done));
  }

  // Until the number there is `least` or more, which another block's store_release makes it. What it sees may be any
  // store since then: the first, by which the least is ordered, or the last.
  __attribute__((noinline)) SOFTDP_UNWATCHED int wait_until(const int* from, int least, const Place& place) {
    for (bool late = random_->below(2) == 0;; late = false) {
      const int there = *const_cast<const volatile int*>(from);
      if (there >= least && !late) {
        waits_in_vain_ = 0;
        const std::vector<int>& stored = stored_[from];
        std::size_t seen = 0;
        while (seen < stored.size() && stored[seen] < least) ++seen;
        if (random_->below(2) == 0 && !stored.empty()) seen = stored.size() - 1;
        races::acquire(from, seen, __builtin_return_address(0));
        return seen < stored.size() ? stored[seen] : there;
      }
      if (there < least && ++waits_in_vain_ > kInVain)
        fail("waits at wait_until (" + words(place) + ") for " + std::to_string(least) + " where " +
             std::to_string(there) + " is, and all that run wait");
      running->warp->waiting = running;
      run_on(running, nullptr);
    }
  }

  __attribute__((noinline)) SOFTDP_UNWATCHED void store_release(int* to, int value) {
    races::release(to, __builtin_return_address(0));
    *const_cast<volatile int*>(to) = value;
    stored_[to].push_back(value);
    waits_in_vain_ = 0;
  }

  __attribute__((noinline)) SOFTDP_UNWATCHED std::int64_t take_ticket(std::int64_t* counter) {
    races::access(counter, sizeof *counter, true, __builtin_return_address(0), races::Way::kAtomic);
    const std::int64_t before = *counter;
    *counter = before + 1;
    return before;
  }

  // A fault of the running thread: the block is left as it is, its other threads too.
  [[noreturn]] void fail(const std::string& what) { fail(running->index, what); }

 private:
  static void live();
  static inline std::unordered_map<const int*, std::vector<int>> stored_;  // by store_release in this launch
  static constexpr int kInVain = 20000;
  static inline int waits_in_vain_ = 0;  // of all blocks, since one of them did anything else

  // Which is told of as the kernel's own.
  __attribute__((no_sanitize("thread"))) static void move(void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
  }
  static races::Way way_of(std::size_t bytes) { return bytes == 16 ? races::Way::kPastL1 : races::Way::kPlain; }
  void read(AsyncCopy& copy) {
    if (copy.bytes == 16)
      move(copy.value, copy.from, copy.bytes);
    else
      l1_.read(copy.value, copy.from, copy.bytes, [&] { return random_->below(4) > 0; });
  }

  void end() {
    if (!running->copies.empty())
      fail("ends with " + std::to_string(running->copies.size()) + " asynchronous copies that it has not waited for");
    running->groups = 0;
    meet(Call::kEnd, 0, kLanes, 0, Place::current());
  }

  [[noreturn]] void fail(int thread, const std::string& what) {
    fault_ = "block " + std::to_string(index_) + ", thread " + std::to_string(thread) + ": " + what;
    run_on(running, nullptr);
    std::abort();  // nobody comes back
  }

  SOFTDP_UNWATCHED void run_on(Thread* from, Thread* to) {
    races::runs(to == nullptr ? -1 : to->index);
    running = to;
    (from == nullptr ? host_ : from->fiber).switch_to(to == nullptr ? host_ : to->fiber);
  }

  SOFTDP_UNWATCHED Thread* next_of(Warp& warp) {
    return warp.waiting != nullptr ? std::exchange(warp.waiting, nullptr) : next_lane(warp);
  }
  SOFTDP_UNWATCHED static Thread* next_lane(Warp& warp) { return &warp.lanes[warp.order[warp.position++]]; }

  SOFTDP_UNWATCHED void draw_order(Warp& warp) {
    random_->shuffle(warp.order, kLanes);
    warp.position = 0;
  }

  void make_ready(int warp) {
    draw_order(warps_[warp]);
    ready_.push_back(warp);
  }

  // All lanes of the warp have arrived; returns who runs on, null for the host.
  SOFTDP_UNWATCHED Thread* after_meeting(Warp& warp) {
    const Arrival& first = warp.lanes[0].arrival;
    for (int lane = 1; lane < kLanes; ++lane) {
      const Arrival& other = warp.lanes[lane].arrival;
      // The hardware lets lanes meet at warp barriers in different places.
      const bool meets = first.call == other.call && first.width == other.width &&
                         (first.call == Call::kWarpBarrier || same_place(first.place, other.place));
      if (!meets)
        fail(warp.lanes[lane].index, "is " + other.words() + " where thread " + std::to_string(warp.lanes[0].index) +
                                         " of its warp is " + first.words());
    }
    const int index = int(&warp - warps_.data());
    if (first.call == Call::kEnd || first.call == Call::kBlockBarrier) {
      std::erase(ready_, index);
      if (first.call == Call::kBlockBarrier) waiting_.push_back(index);
    } else {
      if (first.call == Call::kWarpBarrier)
        races::warp_met(index);
      else
        exchange(warp);
      draw_order(warp);
    }
    const bool all_wait = ready_.empty() && !waiting_.empty();
    if (all_wait) release_barrier();
    if (ready_.empty()) return nullptr;
    const bool may_stay = !all_wait && std::find(ready_.begin(), ready_.end(), current_) != ready_.end();
    if (!may_stay || random_->below(patience_) == 0) current_ = ready_[random_->below(std::uint32_t(ready_.size()))];
    Thread* const next = next_of(warps_[current_]);
    if (patience_with_blocks_ == 0 || random_->below(patience_with_blocks_) > 0) return next;
    next_ = next;
    return nullptr;
  }

  void release_barrier() {
    const Thread& first = warps_[waiting_[0]].lanes[0];
    for (const Warp& warp : warps_) {
      const Thread& other = warp.lanes[0];
      if (other.arrival.call != Call::kBlockBarrier || !same_place(first.arrival.place, other.arrival.place))
        fail(first.index, "waits " + first.arrival.words() + " where thread " + std::to_string(other.index) + " is " +
                              other.arrival.words());
    }
    races::block_met();
    for (int warp : waiting_) make_ready(warp);
    waiting_.clear();
  }

  SOFTDP_UNWATCHED void exchange(Warp& warp) {
    std::uint64_t brought[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) brought[lane] = warp.lanes[lane].arrival.bits;
    const Call call = warp.lanes[0].arrival.call;
    const int width = warp.lanes[0].arrival.width;
    std::uint64_t all = brought[0];  // what any_in_warp and max_in_warp give to each
    for (int lane = 1; lane < kLanes && call == Call::kAny; ++lane) all |= brought[lane];
    for (int lane = 1; lane < kLanes && call == Call::kMax; ++lane)
      all = std::uint64_t(std::max(std::int64_t(all), std::int64_t(brought[lane])));
    for (int lane = 0; lane < kLanes; ++lane) {
      Arrival& arrival = warp.lanes[lane].arrival;
      if (call == Call::kAny || call == Call::kMax) {
        arrival.bits = all;
        continue;
      }
      const int from = lane & -width, argument = arrival.argument;
      const bool makes_sense =
          (width == 8 || width == 16 || width == 32) && argument >= 0 && (call != Call::kShuffle || argument < width);
      if (!makes_sense)
        fail(warp.lanes[lane].index, "is " + arrival.words() + " with lane or delta " + std::to_string(argument) +
                                         " and width " + std::to_string(width));
      int source = from + argument;
      if (call == Call::kShuffleUp) source = lane - argument < from ? lane : lane - argument;
      if (call == Call::kShuffleDown) source = lane - from + argument >= width ? lane : lane + argument;
      arrival.bits = brought[source];
    }
  }

  Fiber host_;
  std::vector<Thread> threads_;
  int begun_ = 0;  // threads whose fibers wait for a block

  void (*body_)(const void*) = nullptr;
  const void* arguments_ = nullptr;
  std::int64_t index_ = 0;
  Random* random_ = nullptr;
  std::uint32_t patience_ = 1, patience_with_blocks_ = 0;  // 0: there are no others
  bool reads_late_ = false;
  std::byte* shared_ = nullptr;
  std::size_t shared_bytes_ = 0;
  std::vector<Warp> warps_;
  std::vector<int> ready_, waiting_;  // warps that run, and that wait at the block barrier
  int current_ = 0;                   // the warp at work
  Thread* next_ = nullptr;            // who goes on after others have; null: any
  L1 l1_;                             // of the multiprocessor, which the next block has as it is
  std::string fault_;
};

inline Block* block = nullptr;  // that of the running thread

__attribute__((used)) inline void report_race(const std::string& what) { block->fail(what); }

inline void Block::go_on() {
  block = this;
  races::turn_to(this);
  if (next_ == nullptr) {
    current_ = ready_[random_->below(std::uint32_t(ready_.size()))];
    next_ = next_of(warps_[current_]);
  }
  run_on(nullptr, std::exchange(next_, nullptr));
}

inline void Block::live() {
  Fiber::arrived();
  for (;;) {
    block->body_(block->arguments_);
    block->end();
  }
}

}  // namespace softdp::cuda_on_cpu
