"""That setup.py has nvcc do what is to be done, once; a script stands in for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SETUP = Path(__file__).parents[2] / "setup.py"
NVCC = """#!/bin/sh
case $1 in
  --version) echo "release %s, V1"; exit ;;
  --list-gpu-arch) echo compute_80; exit ;;
esac
while [ $# -gt 0 ]; do
  case $1 in -MF) listed=$2 ;; -o) made=$2 ;; esac
  shift
done
echo half > "$made"
[ -e broken ] && exit 1
name=$(basename "$made")
echo "$name" >> calls
[ -n "$listed" ] || exit 0
printf '%%s : \\\\\\n csrc/%%s.h csrc/both.h\\n' "$made" "${name%%.o}" > "$listed"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "setup.py": SETUP.read_text(),
        "nvcc": NVCC % (torch.version.cuda or "13.0"),
        "csrc/ops/module.cpp": 'extern "C" void* PyInit__C() { return nullptr; }\n',
        "csrc/both.h": "",
        "softdp/__init__.py": "",
    }
    for name in ("one_cuda", "two_cuda"):
        files |= {f"csrc/ops/{name}.cu": "", f"csrc/{name}.h": ""}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "nvcc").chmod(0o755)
    return tmp_path


def build(tree: Path, **environment: str) -> set[str] | None:
    """What nvcc has made; None where the build failed."""
    (tree / "calls").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tree,
        env={**os.environ, "NVCC": str(tree / "nvcc"), "SOFTDP_CUDA": "1", **environment},
        capture_output=True,
        check=False,
    )
    made = set((tree / "calls").read_text().split()) if (tree / "calls").exists() else set()
    return made if done.returncode == 0 else None


def test_nvcc_makes_what_has_changed_and_nothing_twice(tree: Path) -> None:
    one, two, library = "one_cuda.o", "two_cuda.o", "libsoftdp_cuda.so"
    assert build(tree) == {one, two, library}
    assert build(tree) == set()
    (tree / "csrc/two_cuda.h").touch()
    assert build(tree) == {two, library}
    (tree / "csrc/both.h").touch()
    (tree / "broken").touch()
    assert build(tree) is None
    (tree / "broken").unlink()
    assert build(tree) == {one, two, library}
    assert build(tree, SOFTDP_CUDA_ARCHITECTURES="90") == {one, two, library}
