"""The course of a finished training, as it left it on disk."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ftcl_model.files import read_text
from ftcl_model.reading import (
    as_count,
    as_list,
    as_mapping,
    as_number,
    as_text,
    expecting,
    member,
    parse_json,
)


class Course(NamedTuple):
    """What a training tells of its course.

    losses: {stage: [{term: value} of each epoch]}.
    validation: {metric: {stage: {step: value in 0..1}}}, on training videos set apart.
    """

    seed: int | None
    losses: dict[str, list[dict[str, float]]]
    validation: dict[str, dict[str, dict[int, float]]]


def read_course(path: Path) -> Course:
    """What history.json says.

    Raises:
        InputError: the file is not of that form; it is named.
    """
    text = read_text(path)
    expected = "the seed, by stage the losses of each epoch, and a list of what validation found"
    with expecting(path, expected):
        content = parse_json(text)
        seed, stages = member(content, "seed"), as_mapping(member(content, "losses"))
        losses = {
            stage: [
                {term: as_number(value) for term, value in as_mapping(epoch).items()}
                for epoch in as_list(epochs)
            ]
            for stage, epochs in stages.items()
        }
        validation: dict[str, dict[str, dict[int, float]]] = {}
        for one in as_list(content.get("validation", [])):
            stage, step = as_text(member(one, "stage")), as_count(member(one, "iteration"), 1)
            for metric in ("classification", "localisation"):
                if metric in one:
                    course = validation.setdefault(metric, {}).setdefault(stage, {})
                    course[step] = as_number(one[metric], 0, 1)
        return Course(as_count(seed), losses, validation)
