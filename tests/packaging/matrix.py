"""Installs softdp as the README says, tests what was installed, and prints a table.

    python3 tests/packaging/matrix.py --pythons python3.10 python3.13 --torches 2.10.0 2.13.0
    python3 tests/packaging/matrix.py --compilers g++ clang++-14 --setuptools 65.5.0 80.9.0 --across
    python3 tests/packaging/matrix.py --files dist/*

Interpreters and torches are all combined; whatever else is asked for is varied alone, with the
first of either. What is installed is the last commit, or each of --files: what `make wheels` made.
Environments are new, but for those that --folder has from an earlier call with --keep; without it
each goes when it is done with, as a torch with CUDA takes some 6 GB. Where nvcc is of another CUDA
than torch, which setup.py refuses, SOFTDP_CUDA=0 leaves that out.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BUILD = ["setuptools>=77", "ninja", "pybind11"]  # as the README has it
TEST = ["pytest", "hypothesis", "numpy", "build"]
WAYS = ["editable", "git", "sdist", "wheel"]  # beside the source tree itself
FACTS = """
import platform, torch
from importlib import metadata
print(platform.python_version(), torch.__version__, metadata.version("setuptools"), sep="|")
"""
COMPILER = "from softdp._build import compiler; print(compiler)"


class Case(NamedTuple):
    """What is tried; `setuptools` and `compiler` are empty for what is there by itself.

    A way is one of WAYS, ".", "wheel of TORCH" or the path of a file.
    """

    python: str
    torch: str
    setuptools: str = ""
    compiler: str = ""
    way: str = "."


class Failed(Exception):
    """A command failed; the message is its line that says why."""


class Matrix:
    """Runs cases in a folder: environments, a clone to install from, a copy of the tests, a log."""

    def __init__(self, folder: Path, tests: list[str]) -> None:
        self.folder, self.tests = folder, tests
        self.clone = folder / "a clone"  # a path with a space is to do no harm
        shutil.rmtree(self.clone, ignore_errors=True)
        self.run("git", "clone", "-q", ROOT, self.clone)
        # Apart from the packages, or pytest would import those of the source tree.
        shutil.rmtree(folder / "tested", ignore_errors=True)
        shutil.copytree(self.clone / "tests", folder / "tested" / "tests")
        shutil.copy(self.clone / "pyproject.toml", folder / "tested")

    def run(self, *command: str | Path, cwd: Path | None = None, compiler: str = "") -> str:
        """What the command prints."""
        environment = {**os.environ, **({"CXX": compiler} if compiler else {})}
        try:
            done = subprocess.run(
                command, cwd=cwd or self.folder, env=environment, capture_output=True, text=True
            )
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from error
        with (self.folder / "log").open("a") as log:
            log.write(f"$ {shlex.join(map(str, command))}\n{done.stdout}{done.stderr}\n")
        if done.returncode < 0:
            raise Failed(f"{command[0]} was ended by signal {-done.returncode}")
        if done.returncode != 0:
            lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
            told = [line for line in lines if line.startswith(("softdp: ", "ERROR: "))]
            raise Failed((told or [line for line in lines if line] or ["no output"])[-1])
        return done.stdout

    def environment(self, case: Case) -> Path:
        """The interpreter of the environment of this Python and torch."""
        place = self.place(case)
        python = place / "bin" / "python"
        if not python.exists():
            self.run(case.python, "-m", "venv", place)
            self.pip(python, f"torch=={case.torch}")
        return python

    def place(self, case: Case) -> Path:
        """The folder of this environment."""
        version = self.run(case.python, "-c", "import platform; print(platform.python_version())")
        return self.folder / f"{version.strip()}-torch-{case.torch}"

    def pip(self, python: Path, *arguments: str | Path, compiler: str = "") -> None:
        self.run(python, "-m", "pip", "install", *arguments, compiler=compiler)

    def built(self, python: Path, kind: str, case: Case) -> Path:
        """The sdist or the wheel that this environment makes."""
        made = self.folder / "built"
        shutil.rmtree(made, ignore_errors=True)
        command = [python, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", made]
        self.run(*command, cwd=self.clone, compiler=case.compiler)
        (path,) = made.iterdir()
        return path

    def install(self, python: Path, case: Case) -> None:
        """Install softdp by the case's way."""
        direct = ["--no-build-isolation"]
        if case.way == "git":
            direct.append(f"git+{self.clone.as_uri()}")
        elif case.way == "sdist":
            direct.append(str(self.built(python, "sdist", case)))
        elif case.way == "wheel":
            direct = [str(self.built(python, "wheel", case))]
        elif case.way.startswith("wheel of "):
            other = case._replace(torch=case.way.removeprefix("wheel of "))
            builder = self.environment(other)
            self.pip(builder, *BUILD, *TEST)
            direct = [str(self.built(builder, "wheel", other))]
        elif case.way.endswith((".whl", ".tar.gz")):
            direct.append(case.way)
        else:
            direct += [*(["--editable"] if case.way == "editable" else []), str(self.clone)]
        self.pip(python, *direct, compiler=case.compiler)

    def row(self, case: Case) -> list[str]:
        """Python, torch, setuptools, compiler, way, and how the build and the tests went."""
        asked = [*case[:4], Path(case.way).name or "."]
        builds = not case.way.endswith(".whl")
        try:
            python = self.environment(case)
            self.pip(python, *(BUILD if builds else []), *TEST)
            if case.setuptools:
                self.pip(python, f"setuptools=={case.setuptools}")
            asked[:3] = self.run(python, "-c", FACTS).strip().split("|")
            asked[2] *= builds  # nothing of setuptools is in a wheel
            self.run(python, "-m", "pip", "uninstall", "-y", "softdp")
            self.install(python, case)
            asked[3] = self.run(python, "-c", COMPILER).strip()
        except Failed as failure:
            return [*asked, str(failure), ""]
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *self.tests]
        try:
            told = self.run(*command, cwd=self.folder / "tested").strip().splitlines()[-1]
        except Failed as failure:
            told = str(failure)
        return [*asked, "ok", told]


def cases(asked: argparse.Namespace) -> list[Case]:
    """All interpreters with all torches, then one change at a time."""
    ways = [str(path.resolve()) for path in asked.files] or ["."]
    pairs = [(python, torch) for python in asked.pythons for torch in asked.torches]
    base = [Case(*pair, way=way) for pair in pairs for way in ways]
    first = base[0]._replace(way=".")
    base += [first._replace(compiler=compiler) for compiler in asked.compilers]
    base += [first._replace(setuptools=version) for version in asked.setuptools]
    base += [first._replace(way=way) for way in asked.ways]
    if asked.across:
        others = [(a, b) for a in asked.torches for b in asked.torches if a != b]
        base += [first._replace(torch=a, way=f"wheel of {b}") for a, b in others]
    return base


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", nargs="+", default=[sys.executable])
    parser.add_argument("--torches", nargs="+", default=["2.13.0"], metavar="VERSION")
    parser.add_argument("--compilers", nargs="+", default=[], metavar="COMMAND")
    parser.add_argument("--setuptools", nargs="+", default=[], metavar="VERSION")
    parser.add_argument("--ways", nargs="+", default=[], choices=WAYS)
    parser.add_argument("--files", nargs="+", type=Path, default=[], help="wheels and sdists")
    parser.add_argument("--across", action="store_true", help="each torch's wheel under the others")
    parser.add_argument("--tests", default="tests/softdp -m 'not slow'", help="pytest's arguments")
    parser.add_argument("--folder", type=Path, help="where to work (a new one in the system's)")
    parser.add_argument("--keep", action="store_true", help="leave the folder there")
    asked = parser.parse_args()
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="softdp-matrix-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        matrix = Matrix(folder, shlex.split(asked.tests))
        print("| Python | torch | setuptools | compiler | installed by | build | tests |")
        print("|---|---|---|---|---|---|---|")
        todo = cases(asked)
        for k, case in enumerate(todo):
            print("|", " | ".join(matrix.row(case)), "|", flush=True)
            if not asked.keep and all(case[:2] != later[:2] for later in todo[k + 1 :]):
                with contextlib.suppress(Failed):  # no such interpreter
                    shutil.rmtree(matrix.place(case), ignore_errors=True)
    finally:
        if not asked.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
