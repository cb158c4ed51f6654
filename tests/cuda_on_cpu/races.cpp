// Compiled without -fsanitize=thread and linked to a driver compiled with it, in the place of the sanitizer's runtime.
#include "races.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

namespace softdp::cuda_on_cpu::races {
namespace {

// A shuffle or a vote orders no memory, so barriers alone count.
struct Access {
  int thread = -1;
  std::uint32_t life = 0;  // of a block
  std::uint32_t block_barriers = 0, warp_barriers = 0;
  const void* place = nullptr;
};

struct Byte {
  Access write, read, other_read;  // the last ones, the reads by different threads
};

struct Region {
  const std::byte* memory;
  std::size_t bytes;
  bool shared;
  std::vector<Byte> history;
};

std::map<const void*, Region> global_regions;  // by their begin
Region shared_region;
Access now;  // the running thread
std::uint32_t first_life_of_launch = 0;
std::vector<std::uint32_t> warp_barriers;

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

bool unordered(const Access& before, bool shared) {
  if (before.thread < 0) return false;
  if (before.life != now.life) return !shared && before.life >= first_life_of_launch;
  if (before.thread == now.thread || before.block_barriers < now.block_barriers) return false;
  return before.thread / 32 != now.thread / 32 || before.warp_barriers == now.warp_barriers;
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

std::string words(const Access& before, const char* did, bool writes, const Region& region, std::size_t byte) {
  std::string what = writes ? "writes byte " : "reads byte ";
  what +=
      std::to_string(byte) + (region.shared ? " of shared memory" : " of an array of " + std::to_string(region.bytes));
  what += words(now.place) + ", which " + (before.life == now.life ? "" : "another block's ") + "thread ";
  what += std::to_string(before.thread) + did + words(before.place) + ", and no barrier is between";
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

void look(const void* memory, std::size_t bytes, bool writes, const void* place) {
  if (now.thread < 0 || looking) return;
  settle();
  const auto* at = static_cast<const std::byte*>(memory);
  Region* region = nullptr;
  if (at >= shared_region.memory && at < shared_region.memory + shared_region.bytes) {
    region = &shared_region;
  } else {
    const auto after = global_regions.upper_bound(memory);
    if (after == global_regions.begin()) return;
    region = &std::prev(after)->second;
  }
  looking = true;
  now.warp_barriers = warp_barriers[std::size_t(now.thread / 32)];
  now.place = place;
  const std::size_t begin = std::size_t(at - region->memory);
  for (std::size_t i = begin; i < begin + bytes && i < region->bytes; ++i) {
    Byte& byte = region->history[i];
    if (unordered(byte.write, region->shared)) {
      if (!writes || bytes > sizeof doubtful.there) return tell(words(byte.write, " wrote", writes, *region, i));
      doubtful = {const_cast<std::byte*>(at), bytes, {}, byte.write, region, i};
      std::memcpy(doubtful.there, at, bytes);
    }
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
void begin_launch() { first_life_of_launch = now.life + 1; }
void begin_block(const void* shared, std::size_t bytes) {
  ++now.life;
  now.block_barriers = 0;
  warp_barriers.assign(32, 0);
  shared_region.memory = static_cast<const std::byte*>(shared);
  shared_region.bytes = bytes;
  shared_region.shared = true;
  if (shared_region.history.size() < bytes) shared_region.history.resize(bytes);
}
void runs(int thread) {
  settle();
  now.thread = thread;
}
void warp_met(int warp) { ++warp_barriers[std::size_t(warp)]; }
void block_met() { ++now.block_barriers; }
void access(const void* memory, std::size_t bytes, bool writes, const void* place) {
  look(memory, bytes, writes, place);
}

}  // namespace softdp::cuda_on_cpu::races

#define SOFTDP_ACCESS(name, bytes, writes)                                                \
  extern "C" void __tsan_##name(void* memory) {                                           \
    softdp::cuda_on_cpu::races::look(memory, bytes, writes, __builtin_return_address(0)); \
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
  softdp::cuda_on_cpu::races::look(memory, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* memory, std::size_t bytes) {
  softdp::cuda_on_cpu::races::look(memory, bytes, true, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
