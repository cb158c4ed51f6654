// Runs a family of recurrences on CUDA tensors: on their device, on its current stream, without waiting for it but to
// learn how much memory the weights of a band take.
#pragma once

#include <torch/csrc/stable/accelerator.h>

#include "../wavefront/cuda/run.cuh"
#include "../wavefront/cuda/walk.cuh"
#include "call.h"

// Of libtorch_cuda; null where torch has no CUDA, where this library can be looked at but not used.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(std::int32_t device_index,
                                                                                   void** stream);

namespace softdp::cuda {

inline void check(const char* error) { SOFTDP_CHECK(error == nullptr, "CUDA: ", error); }

struct Device {
  static constexpr bool kReadsAllWeights = false;

  template <class Family, class T>
  static const char* too_large(const Problem<Family, T>& problem) {
    return cuda::too_large(problem);
  }

  // An error that an earlier kernel has left behind shows wherever memory is asked for.
  static const char* fault() {
    std::size_t free = 0, total = 0;
    const cudaError_t status = cudaMemGetInfo(&free, &total);
    return status == cudaSuccess || status == cudaErrorMemoryAllocation ? nullptr : cudaGetErrorString(status);
  }

  template <class T, class Family>
  static std::int64_t weights_numel(const Problem<Family, T>& problem, const Tensor& like) {
    constexpr int places = kPlaces<typename Family::Topology>;
    if (problem.band == nullptr || problem.batch.count == 0)
      return cuda::weights_numel<T>(problem.batch.count, problem.n, problem.m, places);
    std::int64_t columns = 0;
    launch(problem, like, [&](const Plan&, Scratch& scratch, Stream stream) {
      return columns_in_band(problem, scratch, stream, columns);
    });
    return product({columns, weights_per_column<T>(problem.n, places)});
  }

  // Where there is a band the kernels see whether its weights do, and sweep nothing if not: the host need not wait.
  template <class T, class Family>
  static bool fits(const Problem<Family, T>& problem, std::int64_t numel, const Tensor& like) {
    return problem.band != nullptr || numel == weights_numel<T>(problem, like);
  }

  static Tensor new_tensor(const Tensor& like, const std::vector<std::int64_t>& sizes, ScalarType dtype) {
    return torch::stable::new_empty(like, sizes, dtype);
  }

  static Tensor new_zeros(const Tensor& like, const std::vector<std::int64_t>& sizes, ScalarType dtype) {
    return torch::stable::new_zeros(like, sizes, dtype);
  }

  template <class Family, class T>
  static void forward(const Problem<Family, T>& problem, const Outputs<T>& outputs,
                      typename StoredWeights<T>::Word* weights, const Tensor& like) {
    launch(problem, like, [&](const Plan& plan, Scratch& scratch, Stream stream) {
      return cuda::forward(problem, plan, outputs, weights, scratch, stream);
    });
  }

  template <class Family, class T>
  static void backward(const Problem<Family, T>& problem, const Upstream<T>& upstream,
                       const typename StoredWeights<T>::Word* weights, std::int64_t weights_numel,
                       const Gradients<Family, T>& gradients, const Tensor& like) {
    launch(problem, like, [&](const Plan& plan, Scratch& scratch, Stream stream) {
      return cuda::backward(problem, plan, upstream, weights, weights_numel, gradients, scratch, stream);
    });
  }

  template <class Family, class T>
  static void tangent(const Problem<Family, T>& problem, const Problem<Family, T>& direction, const Kept<T>& kept,
                      const typename StoredWeights<T>::Word* weights, std::int64_t weights_numel,
                      const Outputs<T>& outputs, T* changes, const Tensor& like) {
    launch_along(problem, direction, like, [&](const Plan& plan, Scratch& scratch, Stream stream) {
      return cuda::tangent(problem, direction, plan, kept, weights, weights_numel, outputs, changes, scratch, stream);
    });
  }

  template <class Family, class T>
  static void tangent_backward(const Problem<Family, T>& problem, const Problem<Family, T>& direction,
                               const Upstream<T>& upstream, const typename StoredWeights<T>::Word* weights,
                               std::int64_t weights_numel, const T* changes, const Gradients<Family, T>& gradients,
                               const Tensor& like) {
    launch_along(problem, direction, like, [&](const Plan& plan, Scratch& scratch, Stream stream) {
      return cuda::tangent_backward(problem, direction, plan, upstream, weights, weights_numel, changes, gradients,
                                    scratch, stream);
    });
  }

  template <class Family, class T>
  static void walk(const Problem<Family, T>& problem, const Walks<T>& walks,
                   const typename StoredWeights<T>::Word* weights, std::int64_t weights_numel, const Tensor& like) {
    launch(problem, like, [&](const Plan&, Scratch& scratch, Stream stream) {
      return cuda::walk(problem, walks, weights, weights_numel, scratch, stream);
    });
  }

 private:
  // sweep(plan, scratch, stream): called once to count its scratch memory, and once to launch.
  template <class Family, class T, class Sweep>
  static void launch(const Problem<Family, T>& problem, const Tensor& like, const Sweep& sweep) {
    launch_planned(problem, like, [&](const Card& card) { return plan_for(problem, card); }, sweep);
  }
  template <class Family, class T, class Sweep>
  static void launch_along(const Problem<Family, T>& problem, const Problem<Family, T>& direction, const Tensor& like,
                           const Sweep& sweep) {
    launch_planned(problem, like, [&](const Card& card) { return plan_for(problem, direction, card); }, sweep);
  }

  template <class Family, class T, class PlanFor, class Sweep>
  static void launch_planned(const Problem<Family, T>& problem, const Tensor& like, const PlanFor& plan_for,
                             const Sweep& sweep) {
    SOFTDP_CHECK(aoti_torch_get_current_cuda_stream != nullptr, "this torch has no CUDA");
    const torch::stable::accelerator::DeviceGuard guard(like.get_device_index());
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(like.get_device_index(), &stream));
    Card card;
    check(look_at_card(card));
    const Plan plan = plan_for(card);
    Scratch count;
    check(sweep(plan, count, static_cast<Stream>(stream)));
    // Given back at the end of this function to an allocator that keeps it for what the stream does next.
    Tensor memory = with_memory<Device>(
        count.bytes, "memory of the sweep's own",
        [&] { return new_tensor(like, {count.bytes + 16}, ScalarType::Byte); },
        [&] { return text("a problem of ", problem.batch.count, " x ", problem.n, " x ", problem.m); });
    Scratch scratch{static_cast<std::byte*>(memory.mutable_data_ptr())};
    check(sweep(plan, scratch, static_cast<Stream>(stream)));
  }
};

}  // namespace softdp::cuda
