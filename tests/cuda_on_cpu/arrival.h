// What a lane brings to a collective call of its warp, and what is drawn by the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <string>
#include <utility>

namespace softdp::cuda_on_cpu {

constexpr int kLanes = 32;

// Floats of these bytes are NaN. What is not written, or not yet, holds them.
constexpr unsigned char kPoison = 0xff;
inline void poison(void* memory, std::size_t bytes) {
  if (bytes > 0) std::memset(memory, kPoison, bytes);
}

// The layer's own steps at every shuffle, which the sanitizers need not look into.
#define SOFTDP_UNWATCHED __attribute__((no_sanitize("address", "undefined", "thread")))

// splitmix64
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  SOFTDP_UNWATCHED std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  SOFTDP_UNWATCHED std::uint32_t below(std::uint32_t end) { return std::uint32_t(((bits() >> 32) * end) >> 32); }

  template <class T>
  SOFTDP_UNWATCHED void shuffle(T* values, std::uint32_t count) {
    for (std::uint32_t i = count; i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::uint64_t state_;
};

using Place = std::source_location;

SOFTDP_UNWATCHED inline bool same_place(const Place& a, const Place& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

inline std::string words(const Place& place) {
  const std::string file = place.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(place.line());
}

enum class Call { kShuffleUp, kShuffleDown, kShuffle, kAny, kMax, kWarpBarrier, kBlockBarrier, kEnd };

inline const char* name_of(Call call) {
  constexpr const char* names[] = {"shuffle_up",  "shuffle_down", "shuffle",       "any_in_warp",
                                   "max_in_warp", "warp_barrier", "block_barrier", "its end"};
  return names[int(call)];
}

// What a lane brings to a collective call, and the bits that it takes away.
struct Arrival {
  Call call = Call::kEnd;
  int argument = 0;  // a shuffle's delta or lane
  int width = kLanes;
  std::uint64_t bits = 0;
  Place place;

  std::string words() const {
    return call == Call::kEnd ? "at its end"
                              : std::string("at ") + name_of(call) + " (" + cuda_on_cpu::words(place) + ")";
  }
};

}  // namespace softdp::cuda_on_cpu
