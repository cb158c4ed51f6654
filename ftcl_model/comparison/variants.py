"""What is compared by name: changes to a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ftcl_model.config.config import Config, config_from_mapping

Overrides = Mapping[str, Any]
"""Settings to replace in a configuration, by path: {"contrast.lcs_weight": 0.0}."""

COMPARED: dict[str, Overrides] = {
    "backbone": {"contrast.fsd_weight": 0.0, "contrast.lcs_weight": 0.0},
    "fsd": {"contrast.lcs_weight": 0.0},
    "lcs": {"contrast.fsd_weight": 0.0},
    "both": {},
    "paper": {"variant": "paper"},
    "aligned": {"variant": "aligned"},
    "neighbours": {"variant": "aligned", "aligned.source": "neighbours"},
    "self": {"variant": "aligned", "aligned.source": "self"},
    "official": {"variant": "official", "backbone.attention_warmup": 0},
}
"""What each variant changes in the configuration, by the path of the setting.

"backbone" has the second stage's pairs and steps without the contrasts, so that it is trained as
long as what it is compared with. What names no variant of the model has the configuration's own,
or "paper" where that has no contrasts. "neighbours" and "self" are "aligned" without order, and
without a second video.
"""


def override(config: Config, overrides: Overrides, source: str) -> Config:
    """A configuration with settings replaced, by path: {"contrast.lcs_weight": 0.0}.

    Raises:
        InputError: a setting is unknown or its value refused; the message begins with `source`.
    """
    content = dataclasses.asdict(config)
    for path, value in overrides.items():
        *sections, name = path.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[name] = value
    return config_from_mapping(content, source)
