// What a multiprocessor's first-level cache holds of global memory: sectors as they were when they were read, for as
// long as the seed has it. Nobody tells it of what is written. Stricter than the hardware, where an acquire empties it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace softdp::cuda_on_cpu {

class L1 {
 public:
  void empty() { sectors_.clear(); }

  // stays: whether what it holds already is still there.
  template <class Stays>
  __attribute__((no_sanitize("address", "undefined", "thread"))) void read(std::byte* to, const std::byte* from,
                                                                           std::size_t bytes, const Stays& stays) {
    const std::size_t offset = reinterpret_cast<std::uintptr_t>(from) % kBytes;
    const volatile std::byte* const begin = from - offset;  // what is beside an array lies in the same page
    const auto [sector, is_new] = sectors_.try_emplace(from - offset);
    if (is_new || !stays())
      for (std::size_t i = 0; i < kBytes; ++i) sector->second[i] = begin[i];
    for (std::size_t i = 0; i < bytes; ++i) to[i] = sector->second[offset + i];
  }

 private:
  static constexpr std::size_t kBytes = 32;
  std::unordered_map<const std::byte*, std::array<std::byte, kBytes>> sectors_;
};

}  // namespace softdp::cuda_on_cpu
