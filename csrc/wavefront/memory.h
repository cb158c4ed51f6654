// Arrays whose size depends on the problem.
#pragma once

#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "size.h"

namespace softdp {

// What is thrown where `what` would take more memory than there is.
inline std::runtime_error no_memory(std::int64_t bytes, const std::string& what) {
  const std::string many = bytes < kTooLarge ? std::to_string(bytes) : "2^62 or more";
  return std::runtime_error("memory is short: " + what + " would take " + many +
                            " bytes; the score without a gradient (torch.no_grad) takes less, and so do fewer pairs");
}

// An array on the heap that says, unlike std::vector, how much was asked for where there is no memory.
template <class X>
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::int64_t size, const X& value = X()) : size_(size) {
    const std::int64_t bytes = product({size, sizeof(X)});
    if (bytes < kTooLarge)
      begin_.reset(static_cast<X*>(::operator new(std::size_t(bytes), std::align_val_t(alignof(X)), std::nothrow)));
    if (begin_ == nullptr) throw no_memory(bytes, "the sweep's own work");
    std::uninitialized_fill_n(data(), size, value);
  }

  X* data() { return begin_.get(); }
  const X* data() const { return begin_.get(); }
  X* begin() { return data(); }
  X* end() { return data() + size_; }
  X& operator[](std::int64_t at) { return data()[at]; }
  const X& operator[](std::int64_t at) const { return data()[at]; }
  std::int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(X* memory) const { ::operator delete(memory, std::align_val_t(alignof(X))); }
  };
  static_assert(std::is_trivially_destructible_v<X>);

  std::int64_t size_ = 0;
  std::unique_ptr<X, Free> begin_;
};

}  // namespace softdp
