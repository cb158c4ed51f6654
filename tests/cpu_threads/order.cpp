// Sweeps of groups that hold no recurrence, but numbers that tell in which order, and how often, each step was taken.
//
//   order <seed> <sweeps>     ends with 0, or says what was wrong
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>

#include "csrc/wavefront/cpu/tiles.h"

using namespace softdp::cpu;

namespace {

constexpr std::int64_t kRows = kLanes;  // how far the strip before has to be ahead

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::_Exit(1);
}

struct Shape {
  std::int64_t strips, steps;
};

// Each step of a strip is made of the one before it and of what lies kRows ahead in the strip before. The numbers are
// no atomics, so that a race detector sees a tile that was begun too early, whatever came of it.
class Numbers {
 public:
  const Shape group;

  explicit Numbers(Shape shape) : group(shape), taken_(group.strips * (group.steps + 1), 0) {}

  template <bool kForward>
  void take(std::int64_t strip, std::int64_t first, std::int64_t last) {
    const std::int64_t order = kForward ? strip : group.strips - 1 - strip;
    for (std::int64_t t = first; t < last; ++t) {
      const std::int64_t step = kForward ? t : group.steps - 1 - (t - first) - (group.steps - last);
      const std::int64_t done = kForward ? step - 1 : group.steps - 1 - step;  // steps of this strip before
      const std::int64_t all = kForward ? group.steps - 1 : group.steps;
      std::uint64_t& number = at(order, done + 1);
      if (number != 0) fail("a step was taken twice");
      const std::uint64_t before = done == 0 ? 1 : at(order, done);
      const std::uint64_t ahead = order == 0 ? 1 : at(order - 1, std::min(done + 1 + kRows, all));
      if (before == 0 || ahead == 0) fail("a step was taken before one that it depends on");
      number = (before * 31 + ahead * 17 + 7) | 1;
    }
  }

  std::uint64_t last(bool forward) { return at(group.strips - 1, forward ? group.steps - 1 : group.steps); }

 private:
  std::uint64_t& at(std::int64_t order, std::int64_t count) { return taken_[order * (group.steps + 1) + count]; }

  std::vector<std::uint64_t> taken_;
};

// Now and then for long, as a thread that has lost its processor.
void delay(std::uint64_t chance) {
  if (chance % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(chance / 64 % 300));
  if (chance % 64 < 8) std::this_thread::yield();
}

struct Plan {
  std::vector<Shape> shapes;
  std::vector<bool> broken;  // groups that cannot be begun
  int threads;
  std::int64_t alone, at_a_time;
  bool helpers;  // those of the process, or threads of our own
};

template <bool kForward>
std::vector<std::uint64_t> run(const Plan& plan, std::uint64_t seed, bool delays) {
  const std::int64_t groups = plan.shapes.size();
  std::vector<std::uint64_t> found(groups, 0);
  std::vector<std::atomic<int>> begun(groups);
  const auto chance = [&](std::int64_t a, std::int64_t b) {
    return std::hash<std::uint64_t>{}(seed + a * 7919 + b) * 0x9E3779B97F4A7C15u >> 20;
  };
  const auto begin = [&](std::int64_t k, bool /*concurrent*/) {
    if (delays) delay(chance(k, 1));
    if (begun[k]++ != 0) fail("a group was begun twice");
    if (plan.broken[k]) throw std::runtime_error("broken");
    return std::make_unique<Numbers>(plan.shapes[k]);
  };
  const auto tile = [&](Numbers& numbers, std::int64_t k, std::int64_t strip, std::int64_t first, std::int64_t last) {
    if (delays) delay(chance(k * 1000 + strip, first));
    numbers.take<kForward>(strip, first, last);
  };
  const auto end = [&](std::int64_t k, Numbers& numbers) {
    if (found[k] != 0) fail("a group was ended twice");
    found[k] = numbers.group.strips > 0 ? numbers.last(kForward) : 1;
    if (found[k] == 0) fail("a group was ended too early");
  };
  Division division(Layout(1, 1, 1), groups, plan.threads, true);
  division.threads = plan.threads;
  division.alone = plan.alone;
  division.at_a_time = plan.at_a_time;
  using Work = Sweep<kForward, Numbers, decltype(begin), decltype(tile), decltype(end)>;
  const auto work = std::make_shared<Work>(division, begin, tile, end);
  std::vector<std::thread> others;
  if (plan.helpers) {
    Helpers::of_this_process().ask(work, plan.threads - 1);
  } else {
    for (int k = 1; k < plan.threads; ++k) others.emplace_back([work] { work->take_part(); });
  }
  work->take_part();
  Helpers::of_this_process().dismiss(work);
  bool threw = false;
  try {
    work->rethrow();
  } catch (const std::runtime_error&) {
    threw = true;
  }
  bool broken = false;
  for (std::int64_t k = 0; k < groups; ++k) {
    broken = broken || plan.broken[k];
    if (begun[k] != 1) fail("a group was not begun");
    if ((found[k] == 0) != plan.broken[k]) fail("a group was not ended");
  }
  if (threw != broken) fail("what was thrown in a thread did not come out, or came out of nothing");
  for (auto& other : others) other.join();
  return found;
}

template <bool kForward>
void compare(const Plan& plan, std::uint64_t seed) {
  Plan one = plan;
  one.threads = 1;
  one.alone = plan.shapes.size();
  if (run<kForward>(plan, seed, true) != run<kForward>(one, seed, false)) fail("the threads made a difference");
}

}  // namespace

int main(int, char** arguments) {
  std::mt19937_64 random(std::strtoull(arguments[1], nullptr, 10));
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  for (std::int64_t sweeps = std::atoll(arguments[2]); sweeps > 0; --sweeps) {
    Plan plan;
    for (std::int64_t groups = draw(1, draw(0, 1) ? 3 : 12); groups > 0; --groups) {
      const bool empty = draw(0, 15) == 0;
      plan.shapes.push_back(empty ? Shape{0, 0} : Shape{draw(1, 40), draw(2, draw(0, 3) ? 1200 : 150)});
      plan.broken.push_back(draw(0, 31) == 0);
    }
    plan.threads = int(draw(1, 8));
    plan.alone = draw(0, 1) ? 0 : draw(0, std::int64_t(plan.shapes.size()));
    plan.at_a_time = draw(1, 3);
    plan.helpers = draw(0, 1);
    compare<true>(plan, random());
    compare<false>(plan, random());
  }
}
