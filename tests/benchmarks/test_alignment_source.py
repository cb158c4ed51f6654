"""The experiments on the source of the targets: what is compared, and what the tables say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import alignment_source
from benchmarks.alignment_source import ALIGNED, CONTRASTS, EVERY, STREAMS, measure, tables
from ftcl_model.comparison.statistics import compare_runs, comparison_content
from ftcl_model.comparison.variants import override
from ftcl_model.config.config import Config, load_config
from ftcl_model.data.datasets.generated import StreamSettings
from tests.docs.pages import ROOT

SEARCHED = CONTRASTS | {name: ALIGNED[name] for name in list(ALIGNED)[1:]}
RECORDS = sorted(alignment_source.RESULTS.glob(f"{alignment_source.PREFIX}*.json"))
MAP = {name: 0.3 + 0.01 * place for place, name in enumerate([*EVERY, *SEARCHED])}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, dict[str, Any]]]:
    """The comparisons that are asked for; none trains, and the mAP of a name is that of MAP."""
    comparisons: list[tuple[Path, dict[str, Any]]] = []

    def compared(
        config: Config, data: Path, output: Path, *, variants: Mapping[str, Any],
        seeds: Sequence[int], **_: object,
    ) -> None:  # fmt: skip
        comparisons.append((data, dict(variants)))
        for name, overrides in variants.items():
            override(config, {"variant": "paper", **overrides}, name)
        scores = {name: [{"average_map": MAP[name], "map": [MAP[name]]}] * 2 for name in variants}
        resampled = {name: np.full((5, 2), MAP[name]) for name in variants}
        output.mkdir(parents=True, exist_ok=True)
        content = comparison_content(compare_runs(scores, resampled), [0, 1], [0.5])
        (output / "compare.json").write_text(json.dumps(content))

    monkeypatch.setattr(alignment_source, "compare", compared)
    small = StreamSettings(
        n_train=5, n_test=5, snippets=200, classes=4, scripts=2, actions=2, share=0.2
    )
    monkeypatch.setitem(STREAMS, "ordered", small)
    return comparisons


def test_the_contrasts_are_searched_on_other_streams_than_those_of_the_test(
    tmp_path: Path, asked: list
) -> None:
    record = measure("ordered", tmp_path, recordings=None, seeds=2, jobs=None)
    (choose, searched), (data, to_aligned), (again, to_backbone) = asked
    assert searched == CONTRASTS | ALIGNED
    assert data == again != choose
    test = Path("test", "test_0000.npy")
    assert (choose / test).read_bytes() != (data / test).read_bytes()
    assert record["search"]["contrasts"] == (best := list(CONTRASTS)[-1])
    assert to_backbone["contrasts searched"] == CONTRASTS[best]
    assert to_backbone["aligned searched"] == ALIGNED[record["search"]["aligned"]]
    assert to_backbone["aligned"] == ALIGNED["aligned"]
    assert list(to_backbone) == list(EVERY)
    assert sorted(to_aligned) == sorted(EVERY)
    assert next(iter(to_aligned)) == "aligned"
    assert record["data"]["share"] == 0.2
    assert "files" not in record["data"]
    lines = list(tables(record))
    assert len(lines) == 2 + len(EVERY)
    assert lines[2].startswith(
        "| backbone | 30.0 +- 0.0 |  |  |  | -4.0 | [-4.0, -4.0] | [-4.0, -4.0] |"
    )
    assert lines[8].startswith("| self | 36.0 +- 0.0 | +6.0 | [+6.0, +6.0] | [+6.0, +6.0] | +2.0 |")


def test_the_search_is_over_settings_that_there_are() -> None:
    config = load_config("generated")
    changed = [override(config, {"variant": "paper", **c}, "c") for c in SEARCHED.values()]
    assert len({repr(one) for one in changed}) == len(SEARCHED)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_tables_of_the_page_are_those_of_the_records(path: Path) -> None:
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    assert "\n".join(tables(json.loads(path.read_text()))) in page
    assert path.name in page
