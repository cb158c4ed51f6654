"""Installs softdp as the README says, tests what was installed, and prints a table.

    python3 tests/packaging/matrix.py --pythons python3.10 python3.13 --torches 2.10.0 2.13.0
    python3 tests/packaging/matrix.py --compilers g++ clang++-14 --setuptools 65.5.0 80.9.0 --across

Interpreters and torches are all combined; whatever else is asked for is varied alone, with the
first of either. What is installed is the last commit. Environments are new, but for those that
--folder has from an earlier call with --keep. Where nvcc is of another CUDA than torch, which
setup.py refuses, SOFTDP_CUDA=0 leaves that out.
"""

from __future__ import annotations

import argparse
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
import platform, torch, setuptools
print(platform.python_version(), torch.__version__, setuptools.__version__, sep="|")
"""
COMPILER = "from softdp._C import compiler; print(compiler)"


class Case(NamedTuple):
    """What is tried; `setuptools` and `compiler` are empty for what is there by itself."""

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
        version = self.run(case.python, "-c", "import platform; print(platform.python_version())")
        python = self.folder / f"{version.strip()}-torch-{case.torch}" / "bin" / "python"
        if not python.exists():
            self.run(case.python, "-m", "venv", python.parents[1])
            self.pip(python, f"torch=={case.torch}")
        return python

    def pip(self, python: Path, *arguments: str | Path, compiler: str = "") -> None:
        self.run(python, "-m", "pip", "install", *arguments, cwd=self.clone, compiler=compiler)

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
        else:
            direct += [*(["--editable"] if case.way == "editable" else []), "."]
        self.pip(python, *direct, compiler=case.compiler)

    def row(self, case: Case) -> list[str]:
        """Python, torch, setuptools, compiler, way, and how the build and the tests went."""
        asked = [case.python, case.torch, case.setuptools, case.compiler]
        try:
            python = self.environment(case)
            self.pip(python, *BUILD, *TEST)
            if case.setuptools:
                self.pip(python, f"setuptools=={case.setuptools}")
            asked[:3] = self.run(python, "-c", FACTS).strip().split("|")
            self.run(python, "-m", "pip", "uninstall", "-y", "softdp")
            self.install(python, case)
        except Failed as failure:
            return [*asked, case.way, str(failure), ""]
        fact = self.run(python, "-c", COMPILER).strip()
        asked[3] = fact if "lang" in fact else f"GCC {fact}"  # clang names itself
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *self.tests]
        try:
            told = self.run(*command, cwd=self.folder / "tested").strip().splitlines()[-1]
        except Failed as failure:
            told = str(failure)
        return [*asked, case.way, "ok", told]


def cases(asked: argparse.Namespace) -> list[Case]:
    """All interpreters with all torches, then one change at a time."""
    base = [Case(python, torch) for python in asked.pythons for torch in asked.torches]
    first = base[0]
    base += [first._replace(compiler=compiler) for compiler in asked.compilers]
    base += [first._replace(setuptools=version) for version in asked.setuptools]
    base += [first._replace(way=way) for way in asked.ways]
    if asked.across:
        pairs = [(a, b) for a in asked.torches for b in asked.torches if a != b]
        base += [first._replace(torch=a, way=f"wheel of {b}") for a, b in pairs]
    return base


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", nargs="+", default=[sys.executable])
    parser.add_argument("--torches", nargs="+", default=["2.13.0"], metavar="VERSION")
    parser.add_argument("--compilers", nargs="+", default=[], metavar="COMMAND")
    parser.add_argument("--setuptools", nargs="+", default=[], metavar="VERSION")
    parser.add_argument("--ways", nargs="+", default=[], choices=WAYS)
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
        for case in cases(asked):
            print("|", " | ".join(matrix.row(case)), "|", flush=True)
    finally:
        if not asked.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
