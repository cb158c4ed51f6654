// Small kernels for the tests of the layer itself. Each is right until the request plants a fault in it.
#include <type_traits>

#include "csrc/wavefront/cuda/device.cuh"
#include "tests/cuda_on_cpu/request.h"

namespace softdp::cuda {
namespace {

using cuda_on_cpu::check;
using cuda_on_cpu::Reply;
using cuda_on_cpu::Request;

bool planted(const Request& request, const char* fault) {
  return request.has("fault") && request.text("fault") == fault;
}

// ---- a block's sum through shared memory ----

SOFTDP_KERNEL(256)
block_sum(const float* values, float* sums, bool has_barrier) {
  auto* partial = reinterpret_cast<float*>(shared_memory());
  const int t = thread_index(), threads = threads_in_block();
  partial[t] = values[block_index() * threads + t];
  block_barrier();
  for (int half = threads / 2; half > 0; half /= 2) {
    if (t < half) partial[t] += partial[t + half];
    if (has_barrier) block_barrier();
  }
  if (t == 0) sums[block_index()] = partial[0];
}

void run_block_sum(const Request& request, Reply& reply) {
  const auto values = request.array<const float>("values");
  const int threads = int(request.integer("threads"));
  const std::int64_t blocks = std::int64_t(values.size()) / threads;
  const auto sums = reply.array<float>("sums", {blocks});
  check(launch(block_sum, {blocks, threads, threads * sizeof(float)}, {}, values.data(), sums.data(),
               !planted(request, "no block barrier")));
}

// ---- running sums within `width` lanes, many times over ----

template <class T>
SOFTDP_KERNEL(256)
scan(const T* values, T* sums, int width, int times) {
  const std::int64_t at = block_index() * threads_in_block() + thread_index();
  const int lane = thread_index() % width;
  T sum = T(0);
  for (int i = 0; i < times; ++i) {
    sum = values[at];
    for (int delta = 1; delta < width; delta *= 2) {
      const T before = shuffle_up(sum, delta, width);
      if (lane >= delta) sum += before;
    }
  }
  sums[at] = sum;
}

template <class T>
void run_scan(const Request& request, Reply& reply) {
  const auto values = request.array<const T>("values");
  const int threads = int(request.integer("threads"));
  const auto sums = reply.array<T>("sums", request.shape("values"));
  check(launch(scan<T>, {std::int64_t(values.size()) / threads, threads}, {}, values.data(), sums.data(),
               int(request.integer("width")), int(request.integer_or("times", 1))));
}

// ---- each exchange among lanes once ----

SOFTDP_KERNEL(64)
exchanges(const int* values, int* results, int width) {  // results: [5, threads]
  const int t = thread_index(), threads = threads_in_block();
  const int value = values[t];
  results[t] = shuffle_up(value, 3, width);
  results[threads + t] = shuffle_down(value, 3, width);
  results[2 * threads + t] = shuffle(value, (t + 5) % width, width);
  results[3 * threads + t] = any_in_warp(value > 100);
  results[4 * threads + t] = max_in_warp(value);
}

void run_exchanges(const Request& request, Reply& reply) {
  const auto values = request.array<const int>("values");
  const auto results = reply.array<int>("results", {5, std::int64_t(values.size())});
  check(launch(exchanges, {1, int(values.size())}, {}, values.data(), results.data(), int(request.integer("width"))));
}

// ---- lanes of a warp that pass values on through shared memory ----

SOFTDP_KERNEL(128)
pass_on(const float* values, float* results, int rounds, bool has_barrier) {
  auto* slots = reinterpret_cast<float*>(shared_memory());
  const int t = thread_index();
  const int neighbour = (t & -kWarp) + (t + 1) % kWarp;
  float value = values[t];
  for (int round = 0; round < rounds; ++round) {
    slots[t] = value;
    warp_barrier();
    value = slots[neighbour] + float(round);
    if (has_barrier) warp_barrier();  // before the slot is written anew
  }
  results[t] = value;
}

void run_pass_on(const Request& request, Reply& reply) {
  const auto values = request.array<const float>("values");
  const auto results = reply.array<float>("results", request.shape("values"));
  const int threads = int(values.size());
  check(launch(pass_on, {1, threads, threads * sizeof(float)}, {}, values.data(), results.data(), 5,
               !planted(request, "no warp barrier")));
}

// ---- tiles staged by asynchronous copies, one ahead ----

enum class CopyFault { kNone, kNoWait, kOneGroupTooFew, kMisaligned, kNeverWaited, kSourceOverwritten };

template <int kPending>
SOFTDP_DEVICE float read_tile(const float* tile, bool waits) {
  if (waits) wait_for_copies<kPending>();
  block_barrier();
  const int t = thread_index(), last = 4 * threads_in_block() - 1;
  const float sum = tile[t] + 2 * tile[last - t];  // what other threads have copied
  block_barrier();
  return sum;
}

SOFTDP_KERNEL(128)
staged_sums(float* values, float* sums, int tiles, CopyFault fault) {
  auto* ring = reinterpret_cast<float*>(shared_memory());  // [2, tile]
  const int t = thread_index(), tile = 4 * threads_in_block();
  float* mine = values + block_index() * tiles * tile + 4 * t;
  const int off = fault == CopyFault::kMisaligned && t == 7 ? 1 : 0;
  copy_async<16>(ring + 4 * t, mine + off);
  commit_copies();
  float sum = 0;
  for (int i = 0; i < tiles; ++i) {
    const bool has_next = i + 1 < tiles || fault == CopyFault::kNeverWaited;
    if (has_next) {
      copy_async<16>(ring + (i + 1) % 2 * tile + 4 * t, mine + (i + 1) % tiles * tile);
      commit_copies();
    }
    if (fault == CopyFault::kSourceOverwritten) mine[i * tile] = 0;
    const float* current = ring + i % 2 * tile;
    const bool waits = fault != CopyFault::kNoWait;
    sum +=
        has_next || fault == CopyFault::kOneGroupTooFew ? read_tile<1>(current, waits) : read_tile<0>(current, waits);
  }
  sums[block_index() * threads_in_block() + t] = sum;
}

void run_staged_sums(const Request& request, Reply& reply) {
  const auto values = request.array<float>("values");
  const int threads = int(request.integer("threads")), tiles = int(request.integer("tiles"));
  const std::int64_t blocks = std::int64_t(values.size()) / (tiles * 4 * threads);
  const auto sums = reply.array<float>("sums", {blocks, threads});
  const std::pair<const char*, CopyFault> faults[] = {
      {"no wait", CopyFault::kNoWait},
      {"one group too few", CopyFault::kOneGroupTooFew},
      {"misaligned", CopyFault::kMisaligned},
      {"never waited", CopyFault::kNeverWaited},
      {"source overwritten", CopyFault::kSourceOverwritten},
  };
  CopyFault fault = CopyFault::kNone;
  for (const auto& [name, which] : faults)
    if (planted(request, name)) fault = which;
  check(launch(staged_sums, {blocks, threads, 2 * 4 * threads * sizeof(float)}, {}, values.data(), sums.data(), tiles,
               fault));
}

// ---- staged by copies of `kBytes` each, the tile read backwards ----

template <int kBytes>
SOFTDP_KERNEL(64)
staged_copy(const std::byte* values, std::byte* results, bool waits) {
  const int t = thread_index(), last = threads_in_block() - 1;
  copy_async<kBytes>(shared_memory() + kBytes * t, values + kBytes * t);
  commit_copies();
  if (waits) wait_for_copies<0>();
  block_barrier();
  std::memcpy(results + kBytes * t, shared_memory() + kBytes * (last - t), kBytes);
  wait_for_copies<0>();
}

template <int kBytes>
void run_staged_copy(const Request& request, Reply& reply) {
  const auto values = request.array<const std::uint8_t>("values");
  const auto results = reply.array<std::uint8_t>("results", {std::int64_t(values.size())});
  check(launch(staged_copy<kBytes>, {1, int(values.size()) / kBytes, values.size()}, {},
               reinterpret_cast<const std::byte*>(values.data()), reinterpret_cast<std::byte*>(results.data()),
               !planted(request, "no wait")));
}

// ---- half floats ----

SOFTDP_KERNEL(64)
convert(const float* values, std::uint16_t* halves, std::uint16_t* bfloats, float* back, float* bfloats_back,
        int count) {
  for (int i = thread_index(); i < count; i += threads_in_block()) {
    halves[i] = half_of_float(values[i]);
    bfloats[i] = bfloat16_of_float(values[i]);
    back[i] = float_of_half(halves[i]);
    bfloats_back[i] = float_of_bfloat16(bfloats[i]);
  }
}

void run_convert(const Request& request, Reply& reply) {
  const auto values = request.array<const float>("values");
  const std::int64_t count = std::int64_t(values.size());
  check(launch(convert, {1, 64}, {}, values.data(), reply.array<std::uint16_t>("halves", {count}).data(),
               reply.array<std::uint16_t>("bfloats", {count}).data(), reply.array<float>("back", {count}).data(),
               reply.array<float>("bfloats_back", {count}).data(), int(count)));
}

// ---- indices, and what is written ----

struct Offsets {
  int read = 0, write = 0, shared = 0;
  bool same = false;  // all write to the first element
  int unwritten = -1;
};

SOFTDP_KERNEL(64)
copy(const float* values, float* results, SOFTDP_CONSTANT Offsets offsets) {
  auto* slots = reinterpret_cast<float*>(shared_memory());
  const int t = thread_index();
  slots[t + offsets.shared] = values[t + offsets.read];
  if (t != offsets.unwritten) results[offsets.same ? 0 : t + offsets.write] = slots[t + offsets.shared];
}

void run_copy(const Request& request, Reply& reply) {
  const auto values = request.array<const float>("values");
  const auto results = reply.array<float>("results", request.shape("values"));
  const int threads = int(values.size());
  const Offsets offsets{int(request.integer_or("read", 0)), int(request.integer_or("write", 0)),
                        int(request.integer_or("shared", 0)), request.integer_or("same", 0) != 0,
                        int(request.integer_or("unwritten", -1))};
  check(launch(copy, {request.integer_or("blocks", 1), threads, threads * sizeof(float)}, {}, values.data(),
               results.data(), offsets));
}

// ---- threads that part ways ----

enum class Parting { kNone, kExited, kDivergent, kOtherCall, kOtherWidth, kNoSuchLane, kBarrierMissed, kOtherBarrier };

SOFTDP_KERNEL(64)
part_ways(int* results, Parting parting) {
  const int t = thread_index();
  if (parting == Parting::kExited && t == 3) return;
  if (parting == Parting::kBarrierMissed && t >= kWarp) return;
  int value = t;
  if (parting == Parting::kDivergent && t % 2 == 0) {
    value = shuffle_up(value, 1, kWarp);
  } else if (parting == Parting::kOtherCall && t == 5) {
    warp_barrier();
  } else if (parting != Parting::kBarrierMissed) {
    value = shuffle_up(value, 1, parting == Parting::kOtherWidth && t == 40 ? 8 : kWarp);
  }
  if (parting == Parting::kNoSuchLane) value = shuffle(value, kWarp, kWarp);
  if (parting == Parting::kOtherBarrier && t < kWarp)
    block_barrier();
  else
    block_barrier();
  results[t] = value;
}

void run_part_ways(const Request& request, Reply& reply) {
  const char* const names[] = {"none",        "exited",       "divergent",      "other call",
                               "other width", "no such lane", "barrier missed", "other barrier"};
  const int threads = int(request.integer_or("threads", 64));
  const auto results = reply.array<int>("results", {threads});
  int parting = 0;
  for (int i = 1; i < int(std::size(names)); ++i)
    if (planted(request, names[i])) parting = i;
  check(launch(part_ways, {1, threads, std::size_t(request.integer_or("shared", 0))}, {}, results.data(),
               Parting(parting)));
}

// ---- rows that warps of several blocks add up, each from the one before it, a piece at a time ----

enum class RelayFault {
  kNone,
  kNoRelease,
  kReleasedTooEarly,
  kNoBarrier,
  kNoWait,
  kOneLaneWaits,
  kThroughL1,
  kPlainLoad,
  kReadBefore,
  kOutOfOrder
};

SOFTDP_KERNEL(32)
relay(const float* values, float* sums, std::int64_t* tickets, int* done, int rows, int pieces, RelayFault fault) {
  auto* above = reinterpret_cast<float*>(shared_memory());
  const int lane = thread_index();
  for (;;) {
    const std::int64_t ticket = shuffle(lane == 0 ? take_ticket(tickets) : 0, 0, kWarp);
    if (ticket >= rows) return;
    const std::int64_t row = fault == RelayFault::kOutOfOrder ? rows - 1 - ticket : ticket;
    for (int piece = 0; piece < pieces; ++piece) {
      const std::int64_t at = (row * pieces + piece) * kWarp;
      const float* const from = sums + at - pieces * kWarp;
      if (row > 0) {
        if (fault == RelayFault::kReadBefore) {
          copy_async<4>(above + lane, from + lane);
          commit_copies();
          wait_for_copies<0>();
        }
        if (fault != RelayFault::kNoWait && (fault != RelayFault::kOneLaneWaits || lane == 0))
          wait_until(done + row - 1, piece + 1);
        if (fault == RelayFault::kThroughL1 || fault == RelayFault::kReadBefore) {
          copy_async<4>(above + lane, from + lane);
        } else if (lane % 4 == 0) {
          copy_async<16>(above + lane, from + lane);
        }
        commit_copies();
        wait_for_copies<0>();
      }
      warp_barrier();
      float sum = values[at + lane];
      if (row > 0) sum += fault == RelayFault::kPlainLoad ? from[kWarp - 1 - lane] : above[kWarp - 1 - lane];
      sums[at + lane] = sum;
      if (fault != RelayFault::kNoBarrier) warp_barrier();
      if (lane == 0 && fault == RelayFault::kNoRelease) done[row] = piece + 1;
      if (lane == 0 && fault != RelayFault::kNoRelease)
        store_release(done + row, piece + 1 + (fault == RelayFault::kReleasedTooEarly));
    }
  }
}

void run_relay(const Request& request, Reply& reply) {
  const auto values = request.array<const float>("values");  // [rows, pieces * kWarp]
  const std::int64_t rows = request.shape("values")[0];
  const auto tickets = reply.array<std::int64_t>("tickets", {1});
  const auto done = reply.array<int>("done", {rows});
  check(cuda::clear(tickets.data(), sizeof(std::int64_t), {}));
  check(cuda::clear(done.data(), std::size_t(rows) * sizeof(int), {}));
  const char* const names[] = {"none",           "no release", "released too early", "no barrier",  "no wait",
                               "one lane waits", "through L1", "plain load",         "read before", "out of order"};
  int fault = 0;
  for (int i = 1; i < int(std::size(names)); ++i)
    if (planted(request, names[i])) fault = i;
  check(launch(relay, {request.integer("blocks"), kWarp, kWarp * sizeof(float)}, {}, values.data(),
               reply.array<float>("sums", request.shape("values")).data(), tickets.data(), done.data(), int(rows),
               int(request.shape("values")[1]) / kWarp, RelayFault(fault)));
}

}  // namespace
}  // namespace softdp::cuda

int main() {
  using namespace softdp::cuda;
  return softdp::cuda_on_cpu::serve({
      {"block_sum", run_block_sum},
      {"scan", run_scan<float>},
      {"scan_double", run_scan<double>},
      {"exchanges", run_exchanges},
      {"pass_on", run_pass_on},
      {"staged_sums", run_staged_sums},
      {"staged_copy_4", run_staged_copy<4>},
      {"staged_copy_8", run_staged_copy<8>},
      {"staged_copy_16", run_staged_copy<16>},
      {"convert", run_convert},
      {"copy", run_copy},
      {"part_ways", run_part_ways},
      {"relay", run_relay},
  });
}
