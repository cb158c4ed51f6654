// Every family's sweeps there and back, and the self-test, without torch: what they put out, for a test to compare with
// what the same program says on another processor.
#include <cstdio>

#include "csrc/module/self_test.h"
#include "csrc/recurrence/families/affine.h"
#include "csrc/recurrence/families/drop_dtw.h"
#include "csrc/recurrence/families/edit.h"
#include "csrc/recurrence/families/lcs.h"
#include "csrc/recurrence/families/monotonic.h"

using namespace softdp;

namespace {

constexpr std::int64_t kBatch = 5, kN = 37, kM = 45, kThreads = 2;
const std::int64_t kNLengths[] = {37, 20, 37, 0, 31}, kMLengths[] = {45, 45, 38, 45, 0};

class Random {
 public:
  // From 0 to 1, and the same wherever this runs.
  double operator()() { return double((state_ = state_ * 1664525 + 1013904223) >> 8) / double(1 << 24); }

 private:
  std::uint32_t state_ = 1;
};

// A line: a name, the type, numbers.
template <class T>
void tell(const char* name, const char* what, const auto& numbers) {
  std::printf("%s-%s %zu", name, what, sizeof(T));
  for (const auto number : numbers) std::printf(" %.17g", double(number));
  std::printf("\n");
}

// gamma: of the last pair; the others' go up from it.
template <class T, class Family>
void sweep(const char* name, Family family, double gamma, const Ends& ends, double offset = 0) {
  constexpr int kStates = Family::Topology::kStates;
  Random random;
  std::vector<T> tables[Family::kTables], table_gradients[Family::kTables], numbers(kBatch), gammas(kBatch);
  std::vector<T> parameter_gradients(kBatch), gamma_gradients(kBatch), scores(kBatch), upstream(kBatch, T(1));
  Problem<Family, T> problem;
  Gradients<Family, T> gradients;
  problem.family = family;
  problem.batch.dims = 1;
  problem.batch.sizes[0] = problem.batch.count = kBatch;
  problem.n = kN;
  problem.m = kM;
  problem.n_lengths = kNLengths;
  problem.m_lengths = kMLengths;
  problem.ends = ends;
  for (int k = 0; k < Family::kTables; ++k) {
    // Gaps: one number for each pair, as paid ones at the ends need it.
    const bool one = k > 0;
    tables[k].resize(kBatch * (one ? 1 : kN * kM));
    for (T& value : tables[k]) value = T(random() + (one ? -1 : offset));
    problem.tables[k] = {tables[k].data(),
                         sizeof(T) == 8 ? Element::kDouble : Element::kFloat,
                         {one ? 1 : kN * kM},
                         one ? 0 : kM,
                         one ? 0 : 1,
                         one,
                         one};
    table_gradients[k].resize(tables[k].size());
    gradients.tables[k] = table_gradients[k].data();
  }
  for (int b = 0; b < kBatch; ++b) gammas[b] = T(gamma * (kBatch - b));
  problem.gamma = {gammas.data(), 1};
  gradients.gamma = gamma_gradients.data();
  for (T& value : numbers) value = T(random());
  for (int k = 0; k < Family::kParameters; ++k) {
    problem.parameters[k] = {numbers.data(), 1};
    gradients.parameters[k] = parameter_gradients.data();
  }
  std::vector<double> border(kBatch * kStates * problem.border_length()), border_gradients(border.size(), 0.25);
  const cpu::Runner<Family, T> runner{problem, kThreads};
  std::vector<typename StoredWeights<T>::Word> weights(runner.weights_numel());
  runner.forward({scores.data(), border.data()}, weights.data());
  runner.backward({scores.data(), upstream.data(), border.data(), border_gradients.data()}, weights.data(), gradients);
  tell<T>(name, "scores", scores);
  tell<T>(name, "border", border);
  tell<T>(name, "gamma", gamma_gradients);
  tell<T>(name, "parameter", parameter_gradients);
  for (const auto& gradient : table_gradients) tell<T>(name, "table", gradient);
}

template <class T>
void sweep_all() {
  const Ends paid{Gaps::kPaid, Gaps::kPaid}, none{Gaps::kForbidden, Gaps::kForbidden};
  for (const double gamma : {0.2, 0.0}) {
    sweep<T>("soft_dtw", SoftDtw{}, gamma, none);
    sweep<T>("edit", Edit{}, gamma, paid);
    sweep<T>("lcs", Lcs<false>{}, gamma, {});
    sweep<T>("gated_lcs", Lcs<true>{0.1}, gamma, {});
    sweep<T>("affine", AffineEdit{}, gamma, paid, -0.5);
    sweep<T>("local", LocalEdit{}, gamma, {}, -0.5);
    sweep<T>("drop_dtw", DropDtw{}, gamma, paid);
    sweep<T>("monotonic", Monotonic{}, gamma, none);
  }
}

}  // namespace

int main() {
  const SelfTest found(kThreads);
  std::printf("errors %.3g %.3g\n", found.score, found.gradient);
  sweep_all<float>();
  sweep_all<double>();
}
