// Finds accesses of a launch's threads to the same memory, one of them a write, that no barrier orders and no
// wait_until after a store_release: whatever order they were run in. Writes of what is there already are none. What is
// ordered is a fault all the same where a load may find in L1 what was there before another block's write. In a build
// with SOFTDP_RACES the compiler calls races.cpp at every access (it stands in for the runtime of -fsanitize=thread);
// in any other these do nothing.
#pragma once

#include <cstddef>
#include <string>

namespace softdp::cuda_on_cpu {

// What races.cpp calls: a fault of the running thread.
void report_race(const std::string& what);

namespace races {

enum class Way { kPlain, kPastL1, kAtomic };

#if defined(SOFTDP_RACES)
void track(const void* memory, std::size_t bytes);  // global memory; shared memory is known from begin_block
void forget(const void* memory);
void begin_launch();
void begin_block(const void* block, const void* shared, std::size_t bytes);
void turn_to(const void* block);
void runs(int thread);  // -1: the host
void warp_met(int warp);
void block_met();
// By the running thread, at an address; which of the releases there it has seen.
void release(const void* memory, const void* place);
void acquire(const void* memory, std::size_t which, const void* place);
// An access that the compiler does not see, and the address in the kernel that it is told by.
void access(const void* memory, std::size_t bytes, bool writes, const void* place, Way way = Way::kPlain);
#else
inline void track(const void*, std::size_t) {}
inline void forget(const void*) {}
inline void begin_launch() {}
inline void begin_block(const void*, const void*, std::size_t) {}
inline void turn_to(const void*) {}
inline void runs(int) {}
inline void warp_met(int) {}
inline void block_met() {}
inline void release(const void*, const void*) {}
inline void acquire(const void*, std::size_t, const void*) {}
inline void access(const void*, std::size_t, bool, const void*, Way = Way::kPlain) {}
#endif

}  // namespace races
}  // namespace softdp::cuda_on_cpu
