"""What of softdp is here, and whether it computes right: ``python -m softdp``.

Ends with 1 where the self-test fails: the compiled kernels, of one thread and of all, against their
recurrence written out in float64.
"""

from __future__ import annotations

import sys

import torch

import softdp
from softdp import _C
from softdp._extension import kernel_devices

_MOST = 1e-4  # of a right kernel's errors: 4e-5 in gradients, whose weights have 16 bits


def main() -> int:
    """Print the facts of this build and of this machine, and the self-test's errors."""
    threads = torch.get_num_threads()
    print(f"softdp       {softdp.__version__}, {softdp.__path__[0]}")
    print(f"torch        {torch.__version__}, built against {_C.torch_version}")
    print(f"compiler     {_C.compiler}")
    print(f"instructions {_C.instruction_set()}")
    print(f"threads      {threads}")
    print(f"CUDA         {_cuda()}")
    right = True
    for count in sorted({1, threads}):
        score, gradient = _C.self_test(count)
        passed = score < _MOST and gradient < _MOST
        right = right and passed
        print(
            f"self-test    {'passed' if passed else 'FAILED'} on {count} "
            f"thread{'s' if count > 1 else ''}: errors of scores {score:.1e}, "
            f"of gradients {gradient:.1e}"
        )
    return 0 if right else 1


def _cuda() -> str:
    if "cuda" not in kernel_devices():
        return "no kernels in this build" if torch.version.cuda else "a torch without CUDA"
    capabilities = torch.ops.softdp.cuda_architectures()
    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return f"kernels for {capabilities}; {', '.join(names) or 'no device'}"


if __name__ == "__main__":
    sys.exit(main())
