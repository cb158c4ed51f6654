// A thread of execution with a stack of its own that others switch to: what a CUDA thread is on the CPU.
#pragma once

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes) ((void)(memory), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes) ((void)(memory), (void)(bytes))
#endif

#if !defined(__x86_64__) || defined(SOFTDP_UCONTEXT)
#define SOFTDP_SWITCH_BY_UCONTEXT 1
#include <ucontext.h>
#endif

#if !defined(SOFTDP_SWITCH_BY_UCONTEXT)
// swapcontext asks the kernel for the signal mask twice a switch; the calling convention asks for these registers
// alone.
extern "C" void softdp_switch_stack(void** save_stack_pointer, void* stack_pointer);
asm(R"(
.pushsection .text
.weak softdp_switch_stack
.type softdp_switch_stack, @function
softdp_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size softdp_switch_stack, .-softdp_switch_stack
.popsection
)");
#endif

namespace softdp::cuda_on_cpu {

class Fiber {
 public:
  // What runs already: the stack of the calling thread.
  static Fiber of_the_host() {
    Fiber host;
    pthread_attr_t attributes;
    void* bottom = nullptr;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &bottom, &host.stack_bytes_);
    pthread_attr_destroy(&attributes);
    host.stack_ = static_cast<std::byte*>(bottom);
    return host;
  }

  // Begins anew with `entry`, which must call arrived() first and never returns. The stack is kept for good.
  void begin(void (*entry)()) {
    if (stack_ == nullptr) {
      const std::size_t page = std::size_t(sysconf(_SC_PAGESIZE));
      void* memory =
          mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {  // the page that an overflow meets
        std::perror("the stack of a thread");
        std::abort();
      }
      stack_ = static_cast<std::byte*>(memory) + page;
      stack_bytes_ = kStackBytes;
    } else {
      ASAN_UNPOISON_MEMORY_REGION(stack_, stack_bytes_);  // frames that were left and never returned from
    }
    fake_stack_ = nullptr;
#if defined(SOFTDP_SWITCH_BY_UCONTEXT)
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = stack_bytes_;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#else
    // Six registers, the address that `ret` takes, and a null where entry's caller would be, which also aligns.
    auto** top = reinterpret_cast<void**>(stack_ + stack_bytes_) - 8;
    for (int i = 0; i < 8; ++i) top[i] = nullptr;
    top[6] = reinterpret_cast<void*>(entry);
    stack_pointer_ = top;
#endif
  }

  static void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  }

  // From `this`, which runs, to another; returns when somebody switches back.
  __attribute__((always_inline)) inline void switch_to(Fiber& other) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack_, other.stack_, other.stack_bytes_);
#endif
#if defined(SOFTDP_SWITCH_BY_UCONTEXT)
    swapcontext(&context_, &other.context_);
#else
    softdp_switch_stack(&stack_pointer_, other.stack_pointer_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
  }

 private:
  static constexpr std::size_t kStackBytes = 256 << 10;  // reserved; a page is taken when it is touched

  std::byte* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
#if defined(SOFTDP_SWITCH_BY_UCONTEXT)
  ucontext_t context_;
#else
  void* stack_pointer_ = nullptr;
#endif
};

}  // namespace softdp::cuda_on_cpu
