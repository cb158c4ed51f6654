// Random numbers of whatever has a number: which thread or device asks for them, and when, changes none.
//
// Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).
#pragma once

#include "scalar.h"

namespace softdp {

struct Philox {
  std::uint32_t words[4];

  // Of a counter, under a key.
  SOFTDP_INLINE static Philox of(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                                 std::uint64_t key) {
    auto k0 = std::uint32_t(key), k1 = std::uint32_t(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t first = std::uint64_t(0xD2511F53u) * c0, second = std::uint64_t(0xCD9E8D57u) * c2;
      const std::uint32_t before1 = c1, before3 = c3;
      c0 = std::uint32_t(second >> 32) ^ before1 ^ k0;
      c1 = std::uint32_t(second);
      c2 = std::uint32_t(first >> 32) ^ before3 ^ k1;
      c3 = std::uint32_t(first);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
  }
};

}  // namespace softdp
