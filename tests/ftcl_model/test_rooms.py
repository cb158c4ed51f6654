"""Who imports whom: the rooms and the modules beside them stand in an order."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "ftcl_model"


def room(module: str) -> str:
    """The room of a module, or the module itself where it stands beside them."""
    return module.split(".")[1] if "." in module else "__init__"


def imports() -> dict[str, dict[str, list[str]]]:
    """By room those that it imports from, with the lines that do so."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT).with_suffix("").parts
        own = found.setdefault(inside[0], {})
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [str(node.module)]
                if node.module == "ftcl_model":
                    names = [f"ftcl_model.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                if name.split(".")[0] == "ftcl_model" and room(name) != inside[0]:
                    own.setdefault(room(name), []).append(f"{path.name}:{node.lineno}")
    return found


def order(graph: dict[str, dict[str, list[str]]]) -> list[str]:
    return list(
        TopologicalSorter({name: set(others) for name, others in graph.items()}).static_order()
    )


def test_no_room_needs_one_that_needs_it() -> None:
    graph = imports()
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert {"config", "data", "losses", "model", "training", "cli"} <= rooms <= graph.keys()
    try:
        order(graph)
    except CycleError as error:
        circle = error.args[1]
        pytest.fail(f"{' <- '.join(circle)}: {graph[circle[1]][circle[0]]}")


def test_a_circle_would_be_found() -> None:
    graph = imports()
    graph["data"]["training"] = ["features.py:1"]
    with pytest.raises(CycleError):
        order(graph)


def test_the_command_line_is_imported_by_nobody_else() -> None:
    assert [name for name, others in imports().items() if "cli" in others] == ["__main__"]


def test_a_command_loads_neither_pictures_nor_other_processes() -> None:
    script = (
        "import sys, ftcl_model.cli.main; "
        "print(*({'matplotlib', 'ftcl_model.comparison.runs'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == []
