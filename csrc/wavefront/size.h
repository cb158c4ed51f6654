// Sizes multiplied without wrapping around: every product of sizes that memory or an offset depends on is made here.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace softdp {

// What a product comes out as that is this or more, and every product with it. No memory has as many bytes, and two of
// them can be added.
constexpr std::int64_t kTooLarge = std::int64_t(1) << 62;

// The product of sizes, none of them negative.
constexpr std::int64_t product(std::initializer_list<std::int64_t> sizes) {
  std::int64_t result = 1;
  for (const std::int64_t size : sizes)
    result = size > 0 && result > (kTooLarge - 1) / size ? kTooLarge : result * size;
  return result;
}

// The sum of two of these.
constexpr std::int64_t sum(std::int64_t a, std::int64_t b) { return a < kTooLarge - b ? a + b : kTooLarge; }

}  // namespace softdp
