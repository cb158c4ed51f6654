// Threads that lend a hand to whoever sweeps, and that nobody waits for unless they are in the middle of something.
//
// A parallel region of OpenMP ends when each of its threads has been there, also one that never got a processor: with
// as many busy processes beside it as there are processors an empty one takes 8 ms. Here whoever calls does all that
// nobody else has begun, and a thread that comes late finds nothing left.
//
// But torch's own threads spin for some milliseconds after each of its operators, on the processors that helpers would
// have: where they come in time they are the better helpers (Region).
#pragma once

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>

namespace softdp::cpu {

// Something that several threads can do together. It may outlive what it works on, by threads that come late.
class Work {
 public:
  virtual ~Work() = default;

  // Does what there is to do, and returns when all of it has been done.
  virtual void take_part() noexcept = 0;
};

// What a processor is told that has nothing to do for a moment.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Between two looks for what another thread is about to leave: a moment, and after some a sleep, ever longer, as that
// thread may be without a processor.
class Patience {
 public:
  void wait() {
    if (looks_++ < kLooks) {
      for (int k = 0; k < 16; ++k) relax();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50 << std::min(looks_ - kLooks - 1, 4)));
    }
  }

 private:
  static constexpr int kLooks = 64;  // some ten or twenty microseconds, as long as a few tiles take

  int looks_ = 0;
};

class Helpers {
 public:
  // Those of this process. A forked child has none of its parent's threads, and whatever they were in the middle of: it
  // makes others. They are never destroyed, as threads sleep on their mutex until the process ends.
  static Helpers& of_this_process() {
    Helpers* found = current_.load(std::memory_order_acquire);
    if (found) return *found;
    auto made = std::make_unique<Helpers>();
    return current_.compare_exchange_strong(found, made.get(), std::memory_order_acq_rel) ? *made.release() : *found;
  }

  static inline std::atomic<bool> in_forked_child = false;

  // Asks this many threads to take part, which is a wish: where no thread can be had, none comes.
  void ask(const std::shared_ptr<Work>& work, int count) noexcept {
    try {
      const std::lock_guard lock(mutex_);
      wanted_.insert(wanted_.end(), count, work);
      calls_.store(wanted_.size(), std::memory_order_relaxed);
      const std::size_t most = std::max<std::size_t>(count, processors_ - 1);
      for (; threads_ < most && threads_ - working_ < wanted_.size(); ++threads_)
        std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {
    }
    for (int k = 0; k < count; ++k) asked_.notify_one();
  }

  // Nobody who has not yet begun need come.
  void dismiss(const std::shared_ptr<Work>& work) {
    const std::lock_guard lock(mutex_);
    std::erase(wanted_, work);
    calls_.store(wanted_.size(), std::memory_order_relaxed);
  }

 private:
  void serve() {
#if defined(SCHED_BATCH)
    // Takes no processor away from a thread that is at work, which may be the one that has asked.
    const sched_param none{};
    if (sched_getscheduler(0) == SCHED_OTHER) pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
#endif
    std::unique_lock lock(mutex_);
    for (;;) {
      // wait() without an end is of GCC 12's library, which Linux distributions of 2022 lack.
      while (!asked_.wait_for(lock, std::chrono::hours(1), [this] { return !wanted_.empty(); })) {
      }
      std::shared_ptr<Work> work = std::move(wanted_.front());
      wanted_.pop_front();
      calls_.store(wanted_.size(), std::memory_order_relaxed);
      ++working_;
      lock.unlock();
      work->take_part();
      work.reset();
      lock.lock();
      --working_;
      lock.unlock();
      linger();
      lock.lock();
    }
  }

  // To be woken takes as long as a small table, and after a forward sweep there often comes a backward sweep: stays a
  // moment, unless somebody else wants this processor, who may be the very thread that goes on to the next sweep.
  void linger() const {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + std::chrono::microseconds(100);
    for (auto before = Clock::now(); calls_.load(std::memory_order_relaxed) == 0 && before < until;) {
      std::this_thread::yield();
      const auto now = Clock::now();
      if (now - before > std::chrono::microseconds(10)) break;
      before = now;
    }
  }

  static inline std::atomic<Helpers*> current_ = nullptr;
  static inline const int forgotten_by_children_ = pthread_atfork(nullptr, nullptr, [] {
    current_ = nullptr;
    in_forked_child = true;
  });

  const std::size_t processors_ = std::max(std::thread::hardware_concurrency(), 1u);
  std::mutex mutex_;
  std::condition_variable asked_;
  std::deque<std::shared_ptr<Work>> wanted_;  // each once for every thread that it asks for
  std::atomic<std::size_t> calls_ = 0;        // wanted_.size(), for those without the mutex
  std::size_t threads_ = 0, working_ = 0;
};

// A parallel region of torch's threads, which its caller waits for. One that has kept it waiting is not called again
// for a while, the longer the more often that happens: another process wants the processors.
class Region {
 public:
  // Calls part(k) for each k < threads, by a thread each, and waits for them; part(0) by the caller. Null where there
  // are no such threads.
  using Call = void (*)(int threads, void (*part)(int, void*), void* of);
  static inline std::atomic<Call> call = nullptr;
  static inline std::int64_t (*now)() = [] {
    return std::int64_t(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
  };

  // Does all of the work; false where the helpers are the better ones.
  static bool take_part(Work& work, int threads) {
    const Call together = call.load(std::memory_order_relaxed);
    Turn turn{work, now()};
    if (!together || Helpers::in_forked_child || turn.begun < again_.load(std::memory_order_relaxed) || helpers_alone_)
      return false;
    together(threads, [](int k, void* of) { static_cast<Turn*>(of)->part(k); }, &turn);
    const std::int64_t ended = now(), waited = ended - turn.done;
    std::int64_t pause = pause_.load(std::memory_order_relaxed) / 2;
    if (waited > std::max(kPatience, (turn.done - turn.begun) / 4)) {
      pause = std::clamp(8 * pause, kShortest, kLongest);
      again_.store(ended + pause, std::memory_order_relaxed);
    }
    pause_.store(pause, std::memory_order_relaxed);
    return true;
  }

 private:
  struct Turn {
    Work& work;
    std::int64_t begun, done = 0;

    void part(int k) {
      work.take_part();
      if (k == 0) done = now();
    }
  };

  // Nanoseconds.
  static constexpr std::int64_t kPatience = 200'000, kShortest = 20'000'000, kLongest = 1'000'000'000;

  static inline std::atomic<std::int64_t> again_ = 0, pause_ = 0;
  // SOFTDP_THREADS=helpers, to test them.
  static inline const bool helpers_alone_ = [] {
    const char* name = std::getenv("SOFTDP_THREADS");
    return name && std::string_view(name) == "helpers";
  }();
};

}  // namespace softdp::cpu
