// What goes wrong in an op, in one line that begins with the op's name.
#pragma once

#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>

#include "../wavefront/memory.h"

namespace softdp {

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return std::move(stream).str();
}

// Unlike STD_TORCH_CHECK it puts nothing before the words, which are not made where all is well.
#define SOFTDP_CHECK(condition, ...)                                       \
  do {                                                                     \
    if (!(condition)) throw std::runtime_error(softdp::text(__VA_ARGS__)); \
  } while (false)

// f(), whose errors are those of the op.
template <class F>
auto as_op(const char* op, const F& f) {
  try {
    return f();
  } catch (const std::exception& error) {
    throw std::runtime_error(text(op, ": ", error.what()));
  }
}

// make(), which allocates so many bytes: `what`, "the weights", of what whose() says, "cost of shape (4, 7, 9)".
// Device::fault(): why else memory may not be had; null where nothing is known.
template <class Device, class Make, class Whose>
auto with_memory(std::int64_t bytes, const char* what, const Make& make, const Whose& whose) {
  SOFTDP_CHECK(bytes < kTooLarge, whose(), " is too large: ", what, " would take 2^62 bytes or more");
  try {
    return make();
  } catch (const std::exception&) {
    const char* const fault = Device::fault();
    if (fault != nullptr) throw std::runtime_error(fault);
    throw no_memory(bytes, text(what, " of ", whose()));
  }
}

}  // namespace softdp
