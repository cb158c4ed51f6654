// When torch's threads are called, and when they are not: on a clock that the test sets.
#include <cstdio>
#include <cstdlib>

#include "csrc/wavefront/cpu/helpers.h"

using namespace softdp::cpu;

namespace {

std::int64_t clock_now = 1'000'000'000, takes = 0, late = 0;
int calls = 0;

struct Moment final : Work {
  void take_part() noexcept override { clock_now += takes; }
};

void together(int threads, void (*part)(int, void*), void* of) {
  ++calls;
  part(0, of);
  takes = 0;  // there is nothing left for the others
  for (int k = 1; k < threads; ++k) part(k, of);
  clock_now += late;
}

// Whether they were called for work that takes so long, of which the last is so late.
bool called(std::int64_t work_takes, std::int64_t its_last_is_late) {
  Moment work;
  takes = work_takes;
  late = its_last_is_late;
  const int before = calls;
  const bool done = Region::take_part(work, 3);
  if (done != (calls > before)) std::abort();
  return done;
}

void expect(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::exit(1);
}

}  // namespace

int main() {
  constexpr std::int64_t us = 1000, ms = 1000 * us;
  Region::now = [] { return clock_now; };
  expect(!called(ms, 0), "where there are none they are not called");
  Region::call = &together;
  expect(called(ms, 100 * us) && called(ms, 200 * us), "a moment is not late");
  expect(called(100 * ms, 20 * ms) && called(ms, 0), "nor is a fifth of the time");
  expect(called(ms, 8 * ms) && !called(ms, 0), "after 8 ms they are not called");
  clock_now += 21 * ms;
  expect(called(ms, 8 * ms), "until 20 ms have gone");
  clock_now += 21 * ms;
  expect(!called(ms, 0), "the second time it takes longer");
  clock_now += 60 * ms;
  expect(called(ms, 0) && called(ms, 0), "then they are called, and come in time");
  for (int k = 0; k < 20; ++k) {
    clock_now += 1000 * ms;
    expect(called(ms, 8 * ms), "a second is the longest");
  }
  clock_now += 990 * ms;
  expect(!called(ms, 0), "and no less than that where it is always so");
  for (int k = 0; k < 40; ++k) clock_now += 1000 * ms, called(ms, 0);
  expect(called(ms, 8 * ms), "what has come in time for long");
  clock_now += 21 * ms;
  expect(called(ms, 0), "is forgiven");
}
