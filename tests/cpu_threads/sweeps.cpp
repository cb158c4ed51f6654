// The sweeps of real recurrences by several threads, for a race detector; the results must be those of one thread.
//
//   sweeps <seeds>     ends with 0, or says what differs
#include <cstdio>
#include <cstdlib>
#include <random>

#include "csrc/recurrence/families/edit.h"
#include "csrc/recurrence/families/soft_dtw.h"
#include "csrc/wavefront/cpu/run.h"

using namespace softdp;
using namespace softdp::cpu;

namespace {

struct Shape {
  std::int64_t batch, n, m;
  bool ragged, banded;
};

// Scores and gradients of a batch, as bytes; weights also have places without a cell, where anything may stand.
template <class Family, class T>
std::vector<char> results(Family family, const Shape& shape, unsigned seed, int threads) {
  const auto [batch, n, m, ragged, banded] = shape;
  std::mt19937 random(seed);
  std::vector<T> tables[Family::kTables], table_gradients[Family::kTables], gamma(batch), gamma_gradient(batch);
  std::vector<T> scores(batch), score_gradients(batch, T(1));
  std::vector<std::int64_t> lengths[2];
  Problem<Family, T> problem;
  Gradients<Family, T> gradients;
  problem.family = family;
  problem.batch.dims = 1;
  problem.batch.sizes[0] = problem.batch.count = batch;
  problem.n = n;
  problem.m = m;
  for (int k = 0; k < Family::kTables; ++k) {
    const std::int64_t rows = k == 1 ? 1 : n, columns = k == 2 ? 1 : m;  // a gap for each step of one sequence
    for (std::int64_t i = 0; i < batch * rows * columns; ++i) tables[k].push_back(T(random()) / T(1ll << 32));
    problem.tables[k] = {tables[k].data(),    std::is_same_v<T, double> ? Element::kDouble : Element::kFloat,
                         {rows * columns},    rows > 1 ? columns : 0,
                         columns > 1 ? 1 : 0, rows == 1,
                         columns == 1};
    table_gradients[k].resize(tables[k].size());
    gradients.tables[k] = table_gradients[k].data();
  }
  for (auto& value : gamma) value = T(0.5) + T(random()) / T(1ll << 32);
  problem.gamma = {gamma.data(), 1};
  gradients.gamma = gamma_gradient.data();
  if (ragged) {
    for (std::int64_t b = 0; b < batch; ++b) {
      lengths[0].push_back(random() % (n + 1));
      lengths[1].push_back(random() % 2 ? random() % (m + 1) : m);
    }
    problem.n_lengths = lengths[0].data();
    problem.m_lengths = lengths[1].data();
  }
  std::vector<Range> band;
  if (banded) {  // of each pair, with leaps from row to row
    for (std::int64_t b = 0; b < batch; ++b) {
      Range columns{0, random() % 2 ? m : 1 + std::int64_t(random() % 40)};
      const unsigned leap = random() % 2 ? 8 : 48;
      for (std::int64_t i = 0; i < n; ++i) {
        if (random() % leap == 0) columns.last += random() % m;
        if (random() % 8 == 0) columns.first += random() % (8 * m / n);
        columns.first = std::min(columns.first, m - 1);
        columns.last = std::min(std::max(columns.last, columns.first + 1), m);
        band.push_back(columns);
      }
    }
    problem.band = band.data();
    problem.band_stride = n;
  }
  const Runner<Family, T> runner{problem, threads};
  std::vector<typename StoredWeights<T>::Word> weights(runner.weights_numel());
  runner.forward({scores.data()}, weights.data());
  runner.backward({scores.data(), score_gradients.data()}, weights.data(), gradients);
  std::vector<char> bytes;
  const auto add = [&](const auto& numbers) {
    const char* begin = reinterpret_cast<const char*>(numbers.data());
    bytes.insert(bytes.end(), begin, begin + numbers.size() * sizeof(numbers[0]));
  };
  add(scores);
  add(gamma_gradient);
  for (const auto& gradient : table_gradients) add(gradient);
  return bytes;
}

template <class Family, class T>
bool same(const char* name, Family family, unsigned seed) {
  const Shape shapes[] = {{1, 300, 400, false, false}, {3, 270, 260, true, false}, {40, 40, 50, true, false},
                          {4, 96, 1200, true, false},  {1, 400, 700, false, true}, {4, 96, 1200, true, true}};
  for (const auto& shape : shapes) {
    const auto wanted = results<Family, T>(family, shape, seed, 1);
    for (int threads : {2, 3, 8}) {
      if (results<Family, T>(family, shape, seed, threads) == wanted) continue;
      std::fprintf(stderr, "%s of %d x %d x %d differs with %d threads, seed %u\n", name, int(shape.batch),
                   int(shape.n), int(shape.m), threads, seed);
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int, char** arguments) {
  for (unsigned seed = 1; seed <= unsigned(std::atoi(arguments[1])); ++seed)
    if (!same<SoftDtw, float>("soft_dtw, float32", {}, seed) || !same<Edit, double>("edit, float64", {true}, seed))
      return 1;
}
