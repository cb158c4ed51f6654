// Compiled without -fsanitize=thread and linked to a driver compiled with it, in the place of the sanitizer's runtime.
#include "races.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

namespace softdp::cuda_on_cpu::races {
namespace {

// A shuffle or a vote orders no memory, so barriers, releases and acquires alone count.
struct Access {
  int thread = -1;
  std::uint32_t life = 0;  // of a block
  std::uint32_t block_barriers = 0, warp_barriers = 0, time = 0;
  bool atomic = false;
  const void* place = nullptr;
};

// Releases that come before what a thread does, the latest of each thread.
using Known = std::map<std::pair<std::uint32_t, int>, Access>;  // by life and thread

struct Byte {
  Access write, read, other_read;  // the last ones, the reads by different threads
};

struct Region {
  const std::byte* memory;
  std::size_t bytes;
  bool shared;
  std::vector<Byte> history;
};

struct Life {
  std::uint32_t number = 0, block_barriers = 0;
  std::vector<std::uint32_t> warp_barriers;
  Region shared;
  std::vector<Known> known;   // of each thread
  std::vector<bool> learned;  // of each warp: one of its threads has, since they met
};

std::map<const void*, Region> global_regions;  // by their begin
std::map<const void*, Life> lives;             // by their block
Life* life = nullptr;                          // the running block's
Access now;                                    // the running thread
std::uint32_t lives_begun = 0, first_life_of_launch = 0;
std::uint32_t releases = 0;
std::map<const void*, std::vector<Known>> released;  // in this launch, by where

// A write that no barrier orders after another is no race if it writes what is there already, which is seen when the
// next thing happens.
struct Doubtful {
  std::byte* memory = nullptr;
  std::size_t bytes = 0;
  std::byte there[16];
  Access before;
  const Region* region = nullptr;
  std::size_t byte = 0;  // of the region
} doubtful;

bool looking = false;  // what is done here to look is no access of a kernel

// Whether it comes before what another thread of its block does.
bool by_barriers(const Access& before, const Access& after) {
  return before.block_barriers < after.block_barriers ||
         (before.thread / 32 == after.thread / 32 && before.warp_barriers < after.warp_barriers);
}

bool by_release(const Access& before) {
  const Known& known = life->known[std::size_t(now.thread)];
  for (auto at = known.lower_bound({before.life, 0}); at != known.end() && at->first.first == before.life; ++at) {
    const Access& release = at->second;
    if (before.thread == release.thread ? before.time < release.time : by_barriers(before, release)) return true;
  }
  return false;
}

bool of_another_block(const Access& before) {
  return before.thread >= 0 && before.life != now.life && before.life >= first_life_of_launch;
}

bool unordered(const Access& before, bool shared) {
  if (before.thread < 0 || (before.atomic && now.atomic)) return false;
  if (before.life != now.life) return !shared && before.life >= first_life_of_launch && !by_release(before);
  return before.thread != now.thread && !by_barriers(before, now) && !by_release(before);
}

void learn(Known& known, const Known& more) {
  for (const auto& [whose, release] : more) {
    Access& latest = known[whose];
    if (latest.time < release.time) latest = release;
  }
}

// Threads of these warps know what one of them does.
void share(std::size_t first_warp, std::size_t last_warp) {
  const auto learned = life->learned.begin();
  const auto begin = learned + std::ptrdiff_t(first_warp), end = learned + std::ptrdiff_t(last_warp);
  if (std::find(begin, end, true) == end) return;
  std::fill(begin, end, false);
  Known all;
  for (std::size_t t = 32 * first_warp; t < 32 * last_warp; ++t) learn(all, life->known[t]);
  for (std::size_t t = 32 * first_warp; t < 32 * last_warp; ++t) life->known[t] = all;
}

std::string words(const void* place) {
  Dl_info info;
  char line[400] = "";
  if (dladdr(place, &info) != 0) {
    const auto offset = static_cast<const char*>(place) - static_cast<const char*>(info.dli_fbase) - 1;
    std::snprintf(line, sizeof line, "addr2line -e /proc/%d/exe 0x%zx 2>/dev/null", int(getpid()), std::size_t(offset));
    if (std::FILE* pipe = popen(line, "r")) {
      if (std::fgets(line, sizeof line, pipe) == nullptr) line[0] = 0;
      pclose(pipe);
    }
  }
  const std::string whole = line;
  const auto begin = whole.rfind('/') + 1;
  return " (" + whole.substr(begin, whole.find_first_of(" \n", begin) - begin) + ")";
}

std::string words(const Access& before, const char* did, bool writes, const Region& region, std::size_t byte,
                  const char* fault = ", and no barrier is between") {
  std::string what = writes ? "writes byte " : "reads byte ";
  what +=
      std::to_string(byte) + (region.shared ? " of shared memory" : " of an array of " + std::to_string(region.bytes));
  what += words(now.place) + ", which " + (before.life == now.life ? "" : "another block's ") + "thread ";
  what += std::to_string(before.thread) + did + words(before.place) + fault;
  return what;
}

void tell(const std::string& what) {
  looking = false;
  report_race(what);
}

void settle() {
  if (doubtful.memory == nullptr) return;
  std::byte* const memory = std::exchange(doubtful.memory, nullptr);
  looking = true;
  if (std::memcmp(memory, doubtful.there, doubtful.bytes) != 0)
    tell(words(doubtful.before, " wrote", true, *doubtful.region, doubtful.byte));
  looking = false;
}

void look(const void* memory, std::size_t bytes, bool writes, const void* place, Way way) {
  if (now.thread < 0 || looking) return;
  settle();
  const auto* at = static_cast<const std::byte*>(memory);
  Region* region = nullptr;
  if (at >= life->shared.memory && at < life->shared.memory + life->shared.bytes) {
    region = &life->shared;
  } else {
    const auto after = global_regions.upper_bound(memory);
    if (after == global_regions.begin()) return;
    region = &std::prev(after)->second;
  }
  looking = true;
  now.life = life->number;
  now.block_barriers = life->block_barriers;
  now.warp_barriers = life->warp_barriers[std::size_t(now.thread / 32)];
  now.time = releases;
  now.atomic = way == Way::kAtomic;
  now.place = place;
  const std::size_t begin = std::size_t(at - region->memory);
  for (std::size_t i = begin; i < begin + bytes && i < region->bytes; ++i) {
    Byte& byte = region->history[i];
    if (unordered(byte.write, region->shared)) {
      if (!writes || bytes > sizeof doubtful.there) return tell(words(byte.write, " wrote", writes, *region, i));
      doubtful = {const_cast<std::byte*>(at), bytes, {}, byte.write, region, i};
      std::memcpy(doubtful.there, at, bytes);
    }
    if (!writes && way == Way::kPlain && !region->shared && of_another_block(byte.write))
      return tell(words(byte.write, " wrote", writes, *region, i, ", and L1 may hold what was there before"));
    for (const Access* read : {&byte.read, &byte.other_read})
      if (writes && unordered(*read, region->shared)) return tell(words(*read, " read", writes, *region, i));
    if (writes) {
      byte.write = now;
    } else {
      if (byte.read.thread != now.thread || byte.read.life != now.life) byte.other_read = byte.read;
      byte.read = now;
    }
  }
  looking = false;
}

}  // namespace

void track(const void* memory, std::size_t bytes) {
  global_regions[memory] = {static_cast<const std::byte*>(memory), bytes, false, std::vector<Byte>(bytes)};
}
void forget(const void* memory) { global_regions.erase(memory); }
void begin_launch() {
  first_life_of_launch = lives_begun + 1;
  released.clear();
}
void begin_block(const void* block, const void* shared, std::size_t bytes) {
  settle();
  Life& begun = lives[block];
  begun.number = ++lives_begun;
  begun.block_barriers = 0;
  begun.warp_barriers.assign(32, 0);
  begun.known.assign(1024, {});
  begun.learned.assign(32, false);
  begun.shared.memory = static_cast<const std::byte*>(shared);
  begun.shared.bytes = bytes;
  begun.shared.shared = true;
  if (begun.shared.history.size() < bytes) begun.shared.history.resize(bytes);
}
void turn_to(const void* block) {
  settle();
  life = &lives.at(block);
}
void runs(int thread) {
  settle();
  now.thread = thread;
}
void warp_met(int warp) {
  ++life->warp_barriers[std::size_t(warp)];
  share(std::size_t(warp), std::size_t(warp) + 1);
}
void block_met() {
  ++life->block_barriers;
  share(0, life->learned.size());
}
void release(const void* memory, const void* place) {
  look(memory, sizeof(int), true, place, Way::kAtomic);
  Known& known = released[memory].emplace_back(life->known[std::size_t(now.thread)]);
  Access& own = known[{now.life, now.thread}] = now;
  own.time = ++releases;
}
void acquire(const void* memory, std::size_t which, const void* place) {
  look(memory, sizeof(int), false, place, Way::kAtomic);
  const std::vector<Known>& releases_there = released[memory];
  if (which >= releases_there.size()) return;
  learn(life->known[std::size_t(now.thread)], releases_there[which]);
  life->learned[std::size_t(now.thread / 32)] = true;
}
void access(const void* memory, std::size_t bytes, bool writes, const void* place, Way way) {
  look(memory, bytes, writes, place, way);
}

}  // namespace softdp::cuda_on_cpu::races

#define SOFTDP_ACCESS(name, bytes, writes)                                                  \
  extern "C" void __tsan_##name(void* memory) {                                             \
    softdp::cuda_on_cpu::races::access(memory, bytes, writes, __builtin_return_address(0)); \
  }
#define SOFTDP_ACCESSES(bytes)                       \
  SOFTDP_ACCESS(read##bytes, bytes, false)           \
  SOFTDP_ACCESS(write##bytes, bytes, true)           \
  SOFTDP_ACCESS(unaligned_read##bytes, bytes, false) \
  SOFTDP_ACCESS(unaligned_write##bytes, bytes, true)
SOFTDP_ACCESSES(1)
SOFTDP_ACCESSES(2)
SOFTDP_ACCESSES(4)
SOFTDP_ACCESSES(8)
SOFTDP_ACCESSES(16)

extern "C" {
void __tsan_read_range(void* memory, std::size_t bytes) {
  softdp::cuda_on_cpu::races::access(memory, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* memory, std::size_t bytes) {
  softdp::cuda_on_cpu::races::access(memory, bytes, true, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
