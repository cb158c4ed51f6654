// The ops of torch.ops.softdp, for every device.
#include "affine.h"
#include "drop_dtw.h"
#include "edit.h"
#include "lcs.h"
#include "local.h"
#include "monotonic.h"
#include "soft_dtw.h"

// Of each family an op and its backward. What has a gradient comes first: tables, parameters, gamma, the border that
// the sweep begins from; then the lengths and the band, then options. The backward takes the outputs and their
// gradients before these, and returns the gradients in the same order; bit k of `wanted` asks for the k-th.
//
// And the tangent of both, along a direction that is given beside the inputs: how the score and the border change
// (without keep_border it is empty), then how the gradients do.
STABLE_TORCH_LIBRARY(softdp, m) {
  using namespace softdp;
  define<AffineOp>(m);
  define<DropDtwOp>(m);
  define<EditOp>(m);
  define<LcsOp>(m);
  define<LocalOp>(m);
  define<MonotonicOp>(m);
  define<SoftDtwOp>(m);
  // Paths back from cells (row, column, state; counted from 1, as those of the border are 0; none: -1), or from the
  // last one, to where they begin, by the weights of any family whose cells have so many states. first: its first
  // table, of which the shape, the dtype and the device count. score: of all paths of a pair, which has none where that
  // is the score of no path, or no number. Without seeds along the arcs of largest weight, in ties match, delete,
  // insert; with one for each pair, along arcs drawn by their weights. arcs: 0 diagonal, 1 from above, 2 from the left,
  // and 3 times the state that it leads into.
  m.def(
      "walk(Tensor weights, Tensor first, Tensor? n_lengths, Tensor? m_lengths, Tensor? band, Tensor score, Tensor? "
      "cells, int paths, int states, int leading_gaps, bool minimise, Tensor? seeds) -> (Tensor pairs, Tensor arcs, "
      "Tensor lengths)");
}
