// Whether the kernels of this build compute right on this processor: soft-DTW by the compiled sweeps, beside its
// recurrence written out in double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../recurrence/families/soft_dtw.h"
#include "../wavefront/cpu/run.h"

namespace softdp {

struct SelfTest {
  // More than a strip, a group and a tile of them.
  static constexpr std::int64_t kBatch = 5, kN = 70, kM = 300, kCells = kN * kM;
  static constexpr double kGamma = 0.5;

  // Largest errors of scores, as a part of them, and of gradients, which are at most 1.
  double score = 0, gradient = 0;

  explicit SelfTest(int threads) {
    std::vector<float> cost(kBatch * kCells), gradients(cost.size()), scores(kBatch), ones(kBatch, 1.0f);
    std::uint32_t random = 1;
    for (float& value : cost) value = float((random = random * 1664525 + 1013904223) >> 8) / float(1 << 23);
    const float gamma = float(kGamma);
    Problem<SoftDtw, float> problem;
    problem.batch.dims = 1;
    problem.batch.sizes[0] = problem.batch.count = kBatch;
    problem.n = kN;
    problem.m = kM;
    problem.tables[0] = {cost.data(), Element::kFloat, {kCells}, kM, 1, false, false};
    problem.gamma = {&gamma, 0};
    problem.ends = {Gaps::kForbidden, Gaps::kForbidden};
    const cpu::Runner<SoftDtw, float> runner{problem, threads};
    std::vector<StoredWeights<float>::Word> weights(runner.weights_numel());
    runner.forward({scores.data()}, weights.data());
    Gradients<SoftDtw, float> wanted;
    wanted.tables[0] = gradients.data();
    runner.backward({scores.data(), ones.data()}, weights.data(), wanted);
    for (std::int64_t b = 0; b < kBatch; ++b) compare(&cost[b * kCells], scores[b], &gradients[b * kCells]);
  }

 private:
  void compare(const float* cost, double its_score, const float* its_gradient) {
    constexpr std::int64_t width = kM + 2;
    const auto at = [](std::int64_t i, std::int64_t j) { return i * width + j; };
    // Values of rows 0..n, masses of rows 1..n + 1; what lies outside has no path and no mass.
    std::vector<double> value((kN + 2) * width, HUGE_VAL), mass(value.size(), 0.0);
    value[at(0, 0)] = 0;
    for (std::int64_t i = 1; i <= kN; ++i) {
      for (std::int64_t j = 1; j <= kM; ++j) {
        const double before[] = {value[at(i - 1, j - 1)], value[at(i - 1, j)], value[at(i, j - 1)]};
        const double least = *std::min_element(before, before + 3);
        double sum = 0;
        for (const double arc : before) sum += std::exp((least - arc) / kGamma);
        value[at(i, j)] = cost[(i - 1) * kM + j - 1] + least - kGamma * std::log(sum);
      }
    }
    const double wanted = value[at(kN, kM)];
    score = larger(score, std::abs(its_score - wanted) / wanted);
    for (std::int64_t i = kN; i > 0; --i) {
      for (std::int64_t j = kM; j > 0; --j) {
        double sum = i == kN && j == kM ? 1 : 0;
        for (const std::int64_t to : {at(i + 1, j + 1), at(i + 1, j), at(i, j + 1)}) {
          if (mass[to] == 0) continue;
          const std::int64_t row = to / width, column = to % width;
          const double reached = value[to] - cost[(row - 1) * kM + column - 1];
          sum += mass[to] * std::exp((reached - value[at(i, j)]) / kGamma);
        }
        mass[at(i, j)] = sum;
        gradient = larger(gradient, std::abs(its_gradient[(i - 1) * kM + j - 1] - sum));
      }
    }
  }

  // A NaN is larger than any number.
  static double larger(double a, double b) { return a > b || a != a ? a : b; }
};

}  // namespace softdp
