// The topologies that there are, by how many states their cells have; those of one keep their weights alike.
#pragma once

#include "../recurrence/families/affine.h"
#include "../recurrence/families/drop_dtw.h"
#include "../recurrence/families/edit.h"
#include "check.h"

namespace softdp {

// f(a family of the one that has so many)
template <class F>
auto with_states(std::int64_t states, const F& f) {
  switch (states) {
    case Linear::kStates:
      return f(Edit{});
    case Drops::kStates:
      return f(DropDtw{});
    case Affine::kStates:
      return f(AffineEdit{});
    case Local::kStates:
      return f(LocalEdit{});
  }
  throw std::runtime_error(text("no family has cells of ", states, " states"));
}

}  // namespace softdp
