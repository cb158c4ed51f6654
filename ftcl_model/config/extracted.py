"""What features were made by, so that those of another encoder are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ftcl_model.config.config import Config
from ftcl_model.config.conversion import build
from ftcl_model.errors import InputError
from ftcl_model.files import read_text
from ftcl_model.reading import as_mapping, expecting, member, parse_json
from ftcl_model.settings import ExtractionSettings

DESCRIPTION = "dataset.json"
"""The file in a folder of features that says how they were made."""


def read_description(data: Path) -> dict[str, Any] | None:
    """What `extract` says in a folder of the features there; None if it made none.

    Raises:
        InputError: dataset.json is not readable, or not what `extract` writes.
    """
    path = data / DESCRIPTION
    if not path.is_file():
        return None
    with expecting(path, "a JSON object"):
        content = as_mapping(parse_json(read_text(path)))
    return dict(content) if "extraction" in content else None


def read_extraction(data: Path) -> ExtractionSettings | None:
    """How the features of a folder were made, if `extract` made them.

    Raises:
        InputError: as `read_description`; or a setting is missing or refused.
    """
    content = read_description(data)
    if content is None:
        return None
    return build(ExtractionSettings, content["extraction"], f"{data / DESCRIPTION}: extraction")


def with_extraction(config: Config, data: Path) -> Config:
    """The configuration, which takes over how the features of a folder were made.

    Raises:
        InputError: the configuration, which may be that of a trained model, is for features of
            another encoder, width or rate; or as `read_extraction`. The message names dataset.json.
    """
    found = read_extraction(data)
    if found is None:
        return config
    path, dataset = data / DESCRIPTION, config.dataset
    if dataset.extraction is not None and (other := dataset.extraction.difference(found)):
        raise InputError(f"{path}: features of another encoder: expected {other}")
    with expecting(path, '"feature_width"'):
        width = member(read_description(data), "feature_width")
    for name, theirs in (
        ("feature_width", width),
        ("seconds_per_snippet", found.seconds_per_snippet),
        ("layout", "time_first"),
    ):
        if getattr(dataset, name) != theirs:
            raise InputError(
                f"{path}: features of another make: dataset.{name} is {getattr(dataset, name)!r}, "
                f"expected {theirs!r}"
            )
    return replace(config, dataset=replace(dataset, extraction=found))
