// Runs a family of recurrences on CPU tensors: allocate, choose the type of the computation, sweep.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <cstring>

#include "../wavefront/cpu/run.h"
#include "../wavefront/cpu/walk.h"
#include "call.h"

namespace softdp::cpu {

// torch's threads, for Region.
inline void call_together(int threads, void (*part)(int, void*), void* of) {
  torch::stable::parallel_for(0, threads, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t k = first; k < last; ++k) part(int(k), of);
  });
}

struct Device {
  static constexpr bool kReadsAllWeights = true;

  template <class Family, class T>
  static const char* too_large(const Problem<Family, T>& problem) {
    return std::max({problem.batch.count, problem.n, problem.m}) < kTooLarge ? nullptr : "2^62 pairs or steps, or more";
  }

  static const char* fault() { return nullptr; }

  template <class T, class Family>
  static std::int64_t weights_numel(const Problem<Family, T>& problem, const Tensor& /*like*/) {
    if (problem.band) return runner(problem).weights_numel();
    return Layout(problem.batch.count, problem.n, problem.m).words_of_all(Runner<Family, T>::kWords);
  }

  template <class T, class Family>
  static bool fits(const Problem<Family, T>& problem, std::int64_t numel, const Tensor& like) {
    return numel == weights_numel<T>(problem, like);
  }

  // A tensor that is written once, front to back, without torch's dispatcher, which takes as long as a small table. The
  // first touch of each page is a good part of the time of a large one, so it asks for large pages.
  static Tensor new_tensor(const Tensor& /*like*/, const std::vector<std::int64_t>& sizes, ScalarType dtype) {
    std::vector<std::int64_t> strides(sizes.size());
    std::int64_t stride = 1;
    for (std::size_t d = sizes.size(); d-- > 0;) {
      strides[d] = stride;
      stride = product({stride, std::max<std::int64_t>(sizes[d], 1)});
    }
    AtenTensorHandle handle;
    TORCH_ERROR_CODE_CHECK(
        aoti_torch_empty_strided(std::int64_t(sizes.size()), sizes.data(), strides.data(),
                                 torch::stable::detail::to<std::int32_t>(torch::stable::detail::from(dtype)),
                                 aoti_torch_device_type_cpu(), 0, &handle));
    Tensor tensor(handle);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const auto [begin, end] = pages_inside(tensor, std::uintptr_t(2) << 20);
    if (begin < end) madvise(begin, end - begin, MADV_HUGEPAGE);  // a wish: no is no harm
#endif
    return tensor;
  }

  // One that holds zeros where nothing is written.
  static Tensor new_zeros(const Tensor& like, const std::vector<std::int64_t>& sizes, ScalarType dtype) {
    Tensor tensor = new_tensor(like, sizes, dtype);
    std::byte* const data = static_cast<std::byte*>(tensor.mutable_data_ptr());
    const std::size_t bytes = tensor.numel() * tensor.element_size();
#if defined(__linux__)
    // What malloc has is anonymous memory: given back it comes again, as zeros, when it is touched. Where it may not
    // be, it stays.
    const auto [begin, end] = pages_inside(tensor, std::uintptr_t(sysconf(_SC_PAGESIZE)));
    if (is_new(tensor) && madvise(begin, end - begin, MADV_DONTNEED) == 0) {
      std::memset(data, 0, begin - data);
      std::memset(end, 0, data + bytes - end);
      return tensor;
    }
#endif
    if (bytes > 0) std::memset(data, 0, bytes);
    return tensor;
  }

  template <class Family, class T>
  static void forward(const Problem<Family, T>& problem, const Outputs<T>& outputs,
                      typename StoredWeights<T>::Word* weights, const Tensor&) {
    runner(problem).forward(outputs, weights);
  }

  template <class Family, class T>
  static void backward(const Problem<Family, T>& problem, const Upstream<T>& upstream,
                       const typename StoredWeights<T>::Word* weights, std::int64_t /*weights_numel*/,
                       const Gradients<Family, T>& gradients, const Tensor&) {
    if (problem.band) touch_bands(problem, gradients);
    runner(problem).backward(upstream, weights, gradients);
  }

  template <class Family, class T>
  static void tangent(const Problem<Family, T>& problem, const Problem<Family, T>& direction, const Kept<T>& kept,
                      const typename StoredWeights<T>::Word* weights, std::int64_t /*weights_numel*/,
                      const Outputs<T>& outputs, T* changes, const Tensor&) {
    runner(problem).tangent(direction, kept, weights, outputs, changes);
  }

  template <class Family, class T>
  static void tangent_backward(const Problem<Family, T>& problem, const Problem<Family, T>& direction,
                               const Upstream<T>& upstream, const typename StoredWeights<T>::Word* weights,
                               std::int64_t /*weights_numel*/, const T* changes, const Gradients<Family, T>& gradients,
                               const Tensor&) {
    runner(problem).tangent_backward(direction, upstream, weights, changes, gradients);
  }

  template <class Family, class T>
  static void walk(const Problem<Family, T>& problem, const Walks<T>& walks,
                   const typename StoredWeights<T>::Word* weights, std::int64_t /*weights_numel*/, const Tensor&) {
    const Runner<Family, T> sizes = runner(problem);
    const Walker<Family, T> walker{sizes, weights, walks};
    torch::stable::parallel_for(0, walker.parts(), 1, walker);
  }

 private:
  static constexpr std::size_t kAlwaysNew = std::size_t(32) << 20;

  // The pages of a new gradient that a band passes, by all threads: the system makes zeros of each when it is touched,
  // which takes longer than the sweep, and the sweep of a narrow band is a thread's alone.
  template <class Family, class T>
  static void touch_bands(const Problem<Family, T>& problem, const Gradients<Family, T>& gradients) {
    constexpr std::int64_t page = 4096;  // at least
    for (int k = 0; k < Family::kTables; ++k) {
      const Table& table = problem.tables[k];
      if (gradients.tables[k] == nullptr || table.one_row || table.one_column) continue;
      with_element<T>(table.element, [&](auto* type) {
        using E = std::remove_pointer_t<decltype(type)>;
        const std::int64_t rows = problem.batch.count * problem.n, each = page / std::int64_t(sizeof(E));
        if (rows * problem.m * std::int64_t(sizeof(E)) <= std::int64_t(kAlwaysNew)) return;
        E* const cells = static_cast<E*>(gradients.tables[k]);
        torch::stable::parallel_for(0, rows, 1, [&](std::int64_t first, std::int64_t last) {
          for (std::int64_t row = first; row < last; ++row) {
            const Range columns = problem.columns(row / problem.n, row % problem.n, problem.m);
            for (std::int64_t j = columns.first; j < columns.last; j += each) cells[row * problem.m + j] = E(0);
          }
        });
      });
    }
  }

  // So large a block is a mapping of its own, for glibc at least.
  static bool is_new(const Tensor& tensor) { return std::size_t(tensor.numel() * tensor.element_size()) > kAlwaysNew; }

  // Pages of this size that are the tensor's alone.
  static std::pair<std::byte*, std::byte*> pages_inside(const Tensor& tensor, std::uintptr_t page) {
    const auto data = reinterpret_cast<std::uintptr_t>(tensor.mutable_data_ptr());
    const std::uintptr_t end = data + std::uintptr_t(tensor.numel() * tensor.element_size());
    return {reinterpret_cast<std::byte*>((data + page - 1) / page * page),
            reinterpret_cast<std::byte*>(end / page * page)};
  }

  template <class Family, class T>
  static Runner<Family, T> runner(const Problem<Family, T>& problem) {
    Region::call.store(&call_together, std::memory_order_relaxed);
    return {problem, int(torch::stable::get_num_threads())};
  }
};

}  // namespace softdp::cpu
