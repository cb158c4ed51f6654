// What csrc/wavefront/cuda/device.cuh declares, on the CPU: compiled with
// -DSOFTDP_DEVICE_HEADER='"tests/cuda_on_cpu/device.h"' the kernels' own source runs under the host's sanitizers. What
// the hardware leaves undefined is a fault here; launch() returns it in words. Stricter than the hardware: lanes
// exchange at one place in the source, and all 32 are alive.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "grid.h"

#define SOFTDP_DEVICE inline
#define SOFTDP_DEVICE_LAMBDA
// This header's own functions, so that their caller is the kernel's line.
#define SOFTDP_DOOR inline __attribute__((always_inline))
#define SOFTDP_KERNEL(threads) void
#define SOFTDP_KERNEL_OF(threads, blocks) void
#define SOFTDP_CONSTANT const

namespace softdp::cuda_on_cpu {

template <class T>
SOFTDP_DOOR T exchange(Call call, T value, int argument, int width, const Place& place) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = block->meet(call, argument, width, bits, place);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
}  // namespace softdp::cuda_on_cpu

namespace softdp::cuda {

constexpr int kWarp = cuda_on_cpu::kLanes;

SOFTDP_DOOR int thread_index() { return cuda_on_cpu::running->index; }
SOFTDP_DOOR int threads_in_block() { return cuda_on_cpu::block->threads(); }
SOFTDP_DOOR std::int64_t block_index() { return cuda_on_cpu::block->index(); }

template <class T>
SOFTDP_DOOR T shuffle_up(T value, int delta, int width, cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  return cuda_on_cpu::exchange(cuda_on_cpu::Call::kShuffleUp, value, delta, width, place);
}
template <class T>
SOFTDP_DOOR T shuffle_down(T value, int delta, int width, cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  return cuda_on_cpu::exchange(cuda_on_cpu::Call::kShuffleDown, value, delta, width, place);
}
template <class T>
SOFTDP_DOOR T shuffle(T value, int lane, int width, cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  return cuda_on_cpu::exchange(cuda_on_cpu::Call::kShuffle, value, lane, width, place);
}
SOFTDP_DOOR bool any_in_warp(bool condition, cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  return cuda_on_cpu::exchange(cuda_on_cpu::Call::kAny, condition, 0, kWarp, place);
}
SOFTDP_DOOR int max_in_warp(int value, cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  return int(cuda_on_cpu::exchange(cuda_on_cpu::Call::kMax, std::int64_t(value), 0, kWarp, place));
}

SOFTDP_DOOR std::byte* shared_memory() { return cuda_on_cpu::block->shared_memory(); }
SOFTDP_DOOR void warp_barrier(cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  cuda_on_cpu::block->meet(cuda_on_cpu::Call::kWarpBarrier, 0, kWarp, 0, place);
}
SOFTDP_DOOR void block_barrier(cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  cuda_on_cpu::block->meet(cuda_on_cpu::Call::kBlockBarrier, 0, kWarp, 0, place);
}

template <int kBytes>
SOFTDP_DOOR void copy_async(void* to_shared, const void* from_global,
                            cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  cuda_on_cpu::block->copy_async(to_shared, from_global, kBytes, place);
}
SOFTDP_DOOR void commit_copies() { cuda_on_cpu::block->commit_copies(); }
template <int kPending>
SOFTDP_DOOR void wait_for_copies() {
  cuda_on_cpu::block->wait_for_copies(kPending);
}

SOFTDP_DOOR std::int64_t take_ticket(std::int64_t* counter) { return cuda_on_cpu::block->take_ticket(counter); }
SOFTDP_DOOR void store_release(int* to, int value) { cuda_on_cpu::block->store_release(to, value); }
SOFTDP_DOOR int wait_until(const int* from, int least, cuda_on_cpu::Place place = cuda_on_cpu::Place::current()) {
  return cuda_on_cpu::block->wait_until(from, least, place);
}

// Rounded to nearest, ties to even; NaN becomes the one that the hardware makes.
SOFTDP_DOOR float float_of_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t(bits) << 16); }
SOFTDP_DOOR std::uint16_t bfloat16_of_float(float value) {
  if (value != value) return 0x7fff;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
SOFTDP_DOOR float float_of_half(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, rest = bits & 0x7fffu;
  const float magnitude = rest < 0x7c00 ? std::bit_cast<float>(rest << 13) * 0x1p112f  // exponents begin 112 lower
                                        : std::bit_cast<float>(0x7f800000u | rest << 13);
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}
SOFTDP_DOOR std::uint16_t half_of_float(float value) {
  if (value != value) return 0x7fff;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest >= 0x47800000u) return std::uint16_t(sign | 0x7c00u);  // 2^16
  // Below 2^-14 the last place is 2^-24, which is that of 1/2 in float32: the sum rounds there.
  if (rest < 0x38800000u)
    return std::uint16_t(sign | (std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) + 0.5f) - 0x3f000000u));
  const std::uint32_t rounded = rest - (112u << 23) + 0xfff + (rest >> 13 & 1);
  return std::uint16_t(sign | rounded >> 13);  // what rounds up to 2^16 is infinity's bits
}

struct LaunchShape {
  std::int64_t blocks;
  int threads;
  std::size_t shared_bytes = 0;
};

using Stream = void*;

struct Card {
  int multiprocessors;
  std::size_t shared_bytes;
};

}  // namespace softdp::cuda

namespace softdp::cuda_on_cpu {

// What a test chooses before a launch.
struct Settings {
  std::uint64_t seed = 0;
  int resident = 0;                                                 // blocks, at most; 0: the seed says how many
  cuda::Card card{.multiprocessors = 4, .shared_bytes = 99 << 10};  // the least that newer cards let a block have
};
inline Settings settings;

inline void (*launched)() = nullptr;  // the kernel

inline std::string kernel_name() {
  char name[400] = "?";
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_symbolize_pc(reinterpret_cast<char*>(launched) + 1, "%f", name,
                           sizeof name);  // it looks before an address
#endif
  const std::string whole = name;
  return whole.substr(0, whole.find('('));
}

// For reports that know the thread as a stack alone.
inline void tell_where() {
  if (running == nullptr) return;
  std::fprintf(stderr, "kernel %s, block %lld, thread %d\n", kernel_name().c_str(),
               static_cast<long long>(block->index()), running->index);
}

}  // namespace softdp::cuda_on_cpu

namespace softdp::cuda {

inline const char* look_at_card(Card& card) {
  card = cuda_on_cpu::settings.card;
  return nullptr;
}

template <class... P>
const char* launch(void (*kernel)(P...), const LaunchShape& shape, Stream, const P&... arguments) {
  using namespace cuda_on_cpu;
  static std::string fault;
  if (shape.blocks == 0) return nullptr;
  launched = reinterpret_cast<void (*)()>(kernel);
  const auto refuse = [&](const std::string& what) {
    return (fault = "kernel " + kernel_name() + ", " + what).c_str();
  };
  if (shape.blocks < 0 || shape.blocks > 0x7fffffff) return refuse(std::to_string(shape.blocks) + " blocks");
  if (shape.threads <= 0 || shape.threads > kMaxThreads || shape.threads % kWarp != 0)
    return refuse(std::to_string(shape.threads) + " threads a block: no whole number of warps up to 1024");
  if (shape.shared_bytes > settings.card.shared_bytes)
    return refuse(std::to_string(shape.shared_bytes) + " bytes of shared memory where the card has " +
                  std::to_string(settings.card.shared_bytes));

  const auto call = [&] { kernel(arguments...); };
  const auto body = [](const void* it) { (*static_cast<const decltype(call)*>(it))(); };
  Random random(settings.seed);
  const std::string in_block =
      run_grid({body, &call, shape.blocks, shape.threads, shape.shared_bytes}, settings.resident, random);
  if (!in_block.empty()) return refuse(in_block);
  return nullptr;
}

inline const char* clear(void* memory, std::size_t bytes, Stream) {
  if (bytes > 0) std::memset(memory, 0, bytes);
  return nullptr;
}

inline const char* read(void* to, const void* from, std::size_t bytes, Stream) {
  std::memcpy(to, from, bytes);
  return nullptr;
}

}  // namespace softdp::cuda
