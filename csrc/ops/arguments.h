// From tensors to the problem a sweep solves. The full checks, with the messages users read, are in
// softdp/validation.py; here is what memory safety needs, for callers of torch.ops.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "../wavefront/table.h"
#include "check.h"

namespace softdp {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class Sizes>
std::string shape_text(const Sizes& sizes) {
  std::string text = "(";
  for (std::size_t d = 0; d < sizes.size(); ++d) text += (d ? ", " : "") + std::to_string(sizes[d]);
  return text + (sizes.size() == 1 ? ",)" : ")");
}

inline std::string shape_text(const Tensor& tensor) { return shape_text(tensor.sizes()); }

inline std::string name_and_shape(const char* name, const Tensor& tensor) {
  return text(name, " of shape ", shape_text(tensor));
}

inline std::int64_t bytes_of(ScalarType dtype) {
  return dtype == ScalarType::Double || dtype == ScalarType::Long     ? 8
         : dtype == ScalarType::Half || dtype == ScalarType::BFloat16 ? 2
                                                                      : 4;
}

inline Element element_of(const Tensor& tensor, const char* name) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return Element::kFloat;
    case ScalarType::Double:
      return Element::kDouble;
    case ScalarType::Half:
      return Element::kHalf;
    case ScalarType::BFloat16:
      return Element::kBFloat16;
    default:
      throw std::runtime_error(text(name, " must be float16, bfloat16, float32 or float64"));
  }
}

// The type in which the dynamic program runs.
inline ScalarType compute_type(const Tensor& tensor) {
  return tensor.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline std::vector<std::int64_t> batch_sizes(const Tensor& match) {
  const auto sizes = match.sizes();
  return {sizes.begin(), sizes.end() - 2};
}

inline std::vector<std::int64_t> border_sizes(const Tensor& match, int states) {
  auto sizes = batch_sizes(match);
  if (states > 1) sizes.push_back(states);
  sizes.push_back(match.size(-1) + 1 + match.size(-2));
  return sizes;
}

inline bool has_sizes(const Tensor& tensor, const std::vector<std::int64_t>& sizes) {
  const auto own = tensor.sizes();
  return std::equal(own.begin(), own.end(), sizes.begin(), sizes.end());
}

inline Batch batch_of(const Tensor& match, const char* name) {
  SOFTDP_CHECK(match.dim() >= 2 && match.dim() - 2 <= kMaxBatchDims, name, " must have shape (..., n, m) with at most ",
               kMaxBatchDims, " batch dimensions, got ", shape_text(match));
  Batch batch;
  batch.dims = int(match.dim()) - 2;
  for (int d = 0; d < batch.dims; ++d) {
    batch.sizes[d] = match.size(d);
    batch.count = product({batch.count, match.size(d)});
  }
  return batch;
}

// `tensor` broadcast to the shape of `match`, without moving a byte.
inline Table table_of(const Tensor& tensor, const Tensor& match, const char* name) {
  Table table;
  table.data = tensor.const_data_ptr();
  table.element = element_of(tensor, name);
  SOFTDP_CHECK(compute_type(tensor) == compute_type(match) && tensor.device() == match.device(), name,
               " must have the dtype and the device of the first table");
  const bool empty = tensor.numel() == 0;  // its strides may be anything
  const std::int64_t dims = match.dim(), missing = dims - tensor.dim();
  bool fits = missing >= 0;
  for (std::int64_t d = 0; d < dims && fits; ++d) {
    const std::int64_t size = d < missing ? 1 : tensor.size(d - missing);
    const std::int64_t stride = d < missing || size == 1 || empty ? 0 : tensor.stride(d - missing);
    fits = size == 1 || size == match.size(d);
    if (d < dims - 2) {
      table.batch_strides[d] = stride;
    } else if (d == dims - 2) {
      table.row_stride = stride;
      table.one_row = size == 1;
    } else {
      table.column_stride = stride;
      table.one_column = size == 1;
    }
  }
  SOFTDP_CHECK(fits, name, " must broadcast to shape ", shape_text(match), ", got ", shape_text(tensor));
  return table;
}

// The shape of a table's gradient before it is summed over the batch dimensions that were broadcast.
inline std::vector<std::int64_t> gradient_sizes(const Table& table, const Tensor& match) {
  const auto sizes = match.sizes();
  std::vector<std::int64_t> result(sizes.begin(), sizes.end());
  if (table.one_row) result[result.size() - 2] = 1;
  if (table.one_column) result[result.size() - 1] = 1;
  return result;
}

// `tensor`, or a contiguous copy of it.
template <class Device>
Tensor contiguous(const Tensor& tensor, const char* name) {
  if (tensor.is_contiguous()) return tensor;
  return with_memory<Device>(
      product({tensor.numel(), bytes_of(tensor.scalar_type())}), "a contiguous copy",
      [&] { return torch::stable::contiguous(tensor); }, [&] { return name_and_shape(name, tensor); });
}

// One number, or one for each pair. Keep `tensor` alive: it may be a contiguous copy.
template <class Device, class T>
PairNumbers<T> numbers_of(Tensor& tensor, const Tensor& match, const char* name) {
  SOFTDP_CHECK(tensor.scalar_type() == compute_type(match) && tensor.device() == match.device(), name,
               " must be on the device of the first table, in the dtype of the computation");
  const auto batch = batch_sizes(match);
  const auto sizes = tensor.sizes();
  SOFTDP_CHECK(sizes.size() == 0 || std::equal(sizes.begin(), sizes.end(), batch.begin(), batch.end()), name,
               " must be 0-d or have the batch shape, got ", shape_text(tensor));
  tensor = contiguous<Device>(tensor, name);
  return {tensor.template const_data_ptr<T>(), sizes.size() == 0 ? 0 : 1};
}

// Values on another device are checked there, by softdp/validation.py and without waiting.
template <class T>
void check_gamma(const PairNumbers<T>& gamma, const Tensor& tensor) {
  if (!tensor.is_cpu()) return;
  for (std::int64_t b = 0; b < tensor.numel(); ++b)
    SOFTDP_CHECK(gamma.data[b] >= 0 && gamma.data[b] < kInfinity<T>, "gamma must be finite and at least 0, got ",
                 gamma.data[b]);
}

template <class Device>
const std::int64_t* lengths_of(std::optional<Tensor>& lengths, const Tensor& match, std::int64_t longest,
                               const char* name) {
  if (!lengths) return nullptr;
  const auto batch = batch_sizes(match);
  const auto sizes = lengths->sizes();
  SOFTDP_CHECK(lengths->scalar_type() == ScalarType::Long && lengths->device() == match.device() &&
                   std::equal(sizes.begin(), sizes.end(), batch.begin(), batch.end()),
               name, " must be int64 on the device of the first table, of the batch shape, got ", shape_text(*lengths));
  *lengths = contiguous<Device>(*lengths, name);
  const auto* data = lengths->const_data_ptr<std::int64_t>();
  for (std::int64_t b = 0; lengths->is_cpu() && b < lengths->numel(); ++b)
    SOFTDP_CHECK(data[b] >= 0 && data[b] <= longest, name, " must be in 0..", longest, ", got ", data[b]);
  return data;
}

// The numbers of softdp/validation.py.
inline Ends ends_of(std::int64_t leading, std::int64_t trailing) {
  SOFTDP_CHECK(leading >= 0 && leading < 9, "leading_gaps must be a + 3 b, each 0 (free), 1 (paid) or 2 ",
               "(forbidden), for x and for y, got ", leading);
  SOFTDP_CHECK(trailing >= 0 && trailing < 4, "trailing_gaps must be a + 2 b, each 1 where they are paid ",
               "and 0 elsewhere, for x and for y, got ", trailing);
  return {static_cast<Gaps>(leading % 3), static_cast<Gaps>(leading / 3), trailing % 2 == 1, trailing / 2 == 1};
}

// Scores on a border, [batch..., state, m + 1 + n]. Keep `border` alive: it may be a contiguous copy.
template <class Device>
const double* border_of(std::optional<Tensor>& border, const Tensor& first, int states) {
  if (!border) return nullptr;
  SOFTDP_CHECK(border->scalar_type() == ScalarType::Double && border->device() == first.device() &&
                   has_sizes(*border, border_sizes(first, states)),
               "the border must be float64 on the device of the first table, of shape (..., ",
               states > 1 ? "state, " : "", "m + 1 + n), got ", shape_text(*border));
  *border = contiguous<Device>(*border, "border");
  return border->const_data_ptr<double>();
}

// Columns that paths may pass in each row. Keep `band` alive: it may be a contiguous copy.
template <class Device>
const Range* band_of(std::optional<Tensor>& band, const Tensor& first) {
  if (!band) return nullptr;
  auto sizes = batch_sizes(first);
  sizes.insert(sizes.end(), {first.size(-2), 2});
  SOFTDP_CHECK(band->scalar_type() == ScalarType::Long && band->device() == first.device() &&
                   (has_sizes(*band, sizes) || has_sizes(*band, {first.size(-2), 2})),
               "band must be int64 on the device of the first table, of shape (n, 2) or (..., n, 2), got ",
               shape_text(*band));
  *band = contiguous<Device>(*band, "band");
  const auto* data = reinterpret_cast<const Range*>(band->const_data_ptr<std::int64_t>());
  const std::int64_t n = first.size(-2);
  for (std::int64_t k = 1; band->is_cpu() && n > 0 && k < band->numel() / 2; ++k)
    SOFTDP_CHECK(k % n == 0 || (data[k - 1].first <= data[k].first && data[k - 1].last <= data[k].last),
                 "neither end of a band may go back from row to row");
  return data;
}

}  // namespace softdp
