"""What of softdp is here, and whether it computes right: ``python -m softdp``.

Ends with 1 where the self-test fails or is not there: the compiled kernels, of one thread and of
all, against their recurrence written out in float64.
"""

from __future__ import annotations

import sys

import torch

from softdp import _build, collect_env

_MOST = 1e-4  # of a right kernel's errors: 4e-5 in gradients, whose weights have 16 bits


def main() -> int:
    """Print the facts of this build and of this machine, and the self-test's errors."""
    print(collect_env.report(), flush=True)
    right = True
    for count in sorted({1, torch.get_num_threads()}):
        try:
            score, gradient = _build.self_test(count)
        except RuntimeError as error:
            print(f"self-test    none: {error}")
            return 1
        passed = score < _MOST and gradient < _MOST
        right = right and passed
        print(
            f"self-test    {'passed' if passed else 'FAILED'} on {count} "
            f"thread{'s' if count > 1 else ''}: errors of scores {score:.1e}, "
            f"of gradients {gradient:.1e}"
        )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
