// How a driver, a program of kernels, is called from Python. A driver is one file,
//
//   #include "csrc/wavefront/cuda/<kernels>.cuh"
//   #include "tests/cuda_on_cpu/request.h"
//
//   using namespace softdp::cuda;
//   using namespace softdp::cuda_on_cpu;
//
//   void forward(const Request& request, Reply& reply) {
//     const std::int64_t pairs = request.shape("match")[0];
//     const auto match = request.array<const float>("match");  // a std::span
//     const auto score = reply.array<float>("score", {pairs});  // NaN until it is written
//     check(launch(forward_kernel<float>, {pairs, 32}, {}, match.data(), score.data(), request.real("gamma")));
//   }
//
//   int main() { return serve({{"forward", forward}}); }
//
// which build.py compiles and calls:
//
//   kernels = Executable(compile_driver("<driver>.cpp"))  # races=True: looked at for races, without sanitizers
//   kernels.call("forward", {"match": match}, gamma=0.1, seed=7)["score"]
//
// These options the layer takes itself: seed, by which everything is drawn that the hardware leaves open; resident, how
// many blocks run at a time at most, which else the seed says; card_multiprocessors and card_shared_bytes; misalign, by
// how many bytes arrays miss a 16-byte boundary; time_limit in seconds. Kernels that use shared memory deserve some
// eight seeds, and one run that looks for races.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"

namespace softdp::cuda_on_cpu {

// numpy's name; a 16-bit type that C++ lacks is whatever 16-bit type numpy has for it.
template <class T>
std::string dtype_name() {
  if constexpr (std::is_same_v<T, bool>) return "bool";
  if constexpr (!std::is_arithmetic_v<T>) return sizeof(T) == 2 ? "uint16" : "unknown";
  const char* kind = std::is_floating_point_v<T> ? "float" : std::is_signed_v<T> ? "int" : "uint";
  return kind + std::to_string(8 * sizeof(T));
}

inline void check(const char* fault) {
  if (fault != nullptr) throw std::runtime_error(fault);
}

// Memory of exactly these bytes: the sanitizer sees an index one too far on either side.
class Array {
 public:
  Array(std::string dtype, std::vector<std::int64_t> shape, std::size_t bytes, std::size_t misalign);
  Array(Array&&) = default;
  ~Array();

  template <class T>
  std::span<T> as(const std::string& name) const {
    const bool fits = dtype_name<T>() == dtype || (!std::is_arithmetic_v<T> && sizeof(T) == 2 && dtype == "float16");
    if (!fits) throw std::runtime_error("array " + name + " is " + dtype + ", not " + dtype_name<T>());
    return {reinterpret_cast<T*>(data), bytes / sizeof(T)};
  }

  std::string dtype;
  std::vector<std::int64_t> shape;
  std::size_t bytes;
  std::byte* data;

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
};

class Request {
 public:
  bool has(const std::string& name) const { return arrays_.contains(name) || options_.contains(name); }

  // Its elements, which a kernel may write; reply.array() is what goes back.
  template <class T>
  std::span<T> array(const std::string& name) const {
    return find(arrays_, name).template as<std::remove_const_t<T>>(name);
  }
  const std::vector<std::int64_t>& shape(const std::string& name) const { return find(arrays_, name).shape; }

  const std::string& text(const std::string& name) const { return find(options_, name); }
  std::int64_t integer(const std::string& name) const { return std::stoll(text(name)); }
  std::int64_t integer_or(const std::string& name, std::int64_t otherwise) const {
    return has(name) ? integer(name) : otherwise;
  }
  double real(const std::string& name) const { return std::stod(text(name)); }

 private:
  template <class T>
  static const T& find(const std::map<std::string, T>& among, const std::string& name) {
    const auto found = among.find(name);
    if (found == among.end()) throw std::runtime_error("the request has no " + name);
    return found->second;
  }

  friend class Session;
  std::string function_;
  std::map<std::string, Array> arrays_;
  std::map<std::string, std::string> options_;
};

class Reply {
 public:
  explicit Reply(std::size_t misalign) : misalign_(misalign) {}

  // A new array of poison, which goes back under this name.
  template <class T>
  std::span<T> array(const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t bytes = sizeof(T);
    for (const std::int64_t size : shape) bytes *= std::size_t(size);
    const Array& made = arrays_.try_emplace(name, dtype_name<T>(), shape, bytes, misalign_).first->second;
    poison(made.data, bytes);
    return {reinterpret_cast<T*>(made.data), bytes / sizeof(T)};
  }

 private:
  friend class Session;
  std::size_t misalign_;
  std::map<std::string, Array> arrays_;
};

using Function = void (*)(const Request&, Reply&);

// Answers requests, each by the function of its name, until there are no more; the driver's exit code.
int serve(const std::map<std::string, Function>& functions);

}  // namespace softdp::cuda_on_cpu
