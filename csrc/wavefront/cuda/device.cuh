// The one door to the hardware: everything in the kernels that a host compiler cannot compile. The kernels use these
// functions alone, so that supplying this header a second time (SOFTDP_DEVICE_HEADER, tests/cuda_on_cpu/) runs their
// own source on a CPU.
#pragma once

#if defined(SOFTDP_DEVICE_HEADER)
#include SOFTDP_DEVICE_HEADER
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#define SOFTDP_DEVICE __device__ __forceinline__
// Of a lambda that is as long as a kernel.
#define SOFTDP_DEVICE_LAMBDA __attribute__((always_inline))
// A kernel that is launched with at most `threads` threads a block, of which 512 at least fit a multiprocessor: 128
// registers each.
#define SOFTDP_KERNEL(threads) SOFTDP_KERNEL_OF(threads, 512 / (threads))
// The same, of which `blocks` at least fit.
#define SOFTDP_KERNEL_OF(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
// A kernel's argument that is read in place.
#define SOFTDP_CONSTANT const __grid_constant__

namespace softdp::cuda {

constexpr int kWarp = 32;

// ---- where a thread is ----

SOFTDP_DEVICE int thread_index() { return int(threadIdx.x); }
SOFTDP_DEVICE int threads_in_block() { return int(blockDim.x); }
SOFTDP_DEVICE std::int64_t block_index() { return std::int64_t(blockIdx.x); }

// ---- lanes of a warp: all 32 take part; `width` (8, 16 or 32) lanes exchange among themselves ----

// The value of the lane `delta` before this one; of this lane where there is none.
template <class T>
SOFTDP_DEVICE T shuffle_up(T value, int delta, int width) {
  return __shfl_up_sync(0xffffffffu, value, unsigned(delta), width);
}
// The value of the lane `delta` after this one; of this lane where there is none.
template <class T>
SOFTDP_DEVICE T shuffle_down(T value, int delta, int width) {
  return __shfl_down_sync(0xffffffffu, value, unsigned(delta), width);
}
// The value of lane `lane` of the width.
template <class T>
SOFTDP_DEVICE T shuffle(T value, int lane, int width) {
  return __shfl_sync(0xffffffffu, value, lane, width);
}
SOFTDP_DEVICE bool any_in_warp(bool condition) { return __any_sync(0xffffffffu, condition); }
SOFTDP_DEVICE int max_in_warp(int value) {
#pragma unroll
  for (int delta = kWarp / 2; delta > 0; delta /= 2) {
    const int other = __shfl_xor_sync(0xffffffffu, value, delta);
    value = other > value ? other : value;
  }
  return value;
}

// ---- memory ----

// Dynamic shared memory of the block, 16-byte aligned, as many bytes as the launch says.
SOFTDP_DEVICE std::byte* shared_memory() {
  extern __shared__ __align__(16) std::byte softdp_shared_memory[];
  return softdp_shared_memory;
}
// What a warp's lanes have written to memory is seen by its other lanes.
SOFTDP_DEVICE void warp_barrier() { __syncwarp(); }
// The same for the threads of the block.
SOFTDP_DEVICE void block_barrier() { __syncthreads(); }

// kBytes (4, 8 or 16) bytes, both sides aligned to as many, 16 of them past L1; done when this thread has waited for
// the group they were committed in, seen by others after a barrier that follows.
template <int kBytes>
SOFTDP_DEVICE void copy_async(void* to_shared, const void* from_global) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(to_shared));
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from_global) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from_global), "n"(kBytes) : "memory");
  }
}
SOFTDP_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kPending of this thread's committed groups are not done.
template <int kPending>
SOFTDP_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// ---- between blocks of a launch ----

// What a counter in global memory was before this raised it by 1. It orders nothing else.
SOFTDP_DEVICE std::int64_t take_ticket(std::int64_t* counter) {
  return std::int64_t(atomicAdd(reinterpret_cast<unsigned long long*>(counter), 1ull));
}
// Whoever sees this value by wait_until sees, past L1, what this thread has written before, and what it has seen.
SOFTDP_DEVICE void store_release(int* to, int value) {
  asm volatile("st.release.gpu.s32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
// Waits until what store_release has left here is `least` or more, and returns it.
SOFTDP_DEVICE int wait_until(const int* from, int least) {
  for (;;) {
    int value;
    asm volatile("ld.acquire.gpu.s32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
    if (value >= least) return value;
    __nanosleep(64);
  }
}

// float16 and bfloat16 as their bits.
SOFTDP_DEVICE float float_of_half(std::uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
SOFTDP_DEVICE float float_of_bfloat16(std::uint16_t bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); }
SOFTDP_DEVICE std::uint16_t half_of_float(float value) { return __half_as_ushort(__float2half_rn(value)); }
SOFTDP_DEVICE std::uint16_t bfloat16_of_float(float value) { return __bfloat16_as_ushort(__float2bfloat16_rn(value)); }

// ---- the host's side ----

struct LaunchShape {
  std::int64_t blocks;  // 0: nothing is launched
  int threads;          // a block
  std::size_t shared_bytes = 0;
};

using Stream = cudaStream_t;

// What the card in hand offers.
struct Card {
  int multiprocessors;
  std::size_t shared_bytes;  // that a block may ask for
};

// Returns null, or what went wrong.
inline const char* look_at_card(Card& card) {
  int device = 0, shared = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess)
    status = cudaDeviceGetAttribute(&card.multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  card.shared_bytes = std::size_t(shared);
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

// Returns null, or what went wrong.
template <class... P>
const char* launch(void (*kernel)(P...), const LaunchShape& shape, Stream stream, const P&... arguments) {
  if (shape.blocks == 0) return nullptr;
  if (shape.blocks > 0x7fffffff) return "more blocks than a launch can have";
  cudaError_t status = cudaSuccess;
  if (shape.shared_bytes > (48u << 10)) {  // more than every kernel may have unasked
    // Always as much as there is: what another thread launches at this moment may need more than this.
    Card card;
    if (const char* error = look_at_card(card)) return error;
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(card.shared_bytes));
  }
  if (status != cudaSuccess) return cudaGetErrorString(status);
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  status = cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(unsigned(shape.blocks)),
                            dim3(unsigned(shape.threads)), pointers, shape.shared_bytes, stream);
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

inline const char* clear(void* memory, std::size_t bytes, Stream stream) {
  const cudaError_t status = cudaMemsetAsync(memory, 0, bytes, stream);
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

// From the GPU to the host, which waits for what the stream does before.
inline const char* read(void* to, const void* from, std::size_t bytes, Stream stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  cudaError_t status = cudaStreamIsCapturing(stream, &capture);
  if (capture != cudaStreamCaptureStatusNone) return "nothing is read by the host while a CUDA graph is captured";
  if (status == cudaSuccess) status = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream);
  if (status == cudaSuccess) status = cudaStreamSynchronize(stream);
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

}  // namespace softdp::cuda

#endif
