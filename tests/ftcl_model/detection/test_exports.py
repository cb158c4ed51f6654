from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ftcl_model.detection import exports
from ftcl_model.detection.predictions import Detection, read_predictions

ROWS = [
    Detection(3.0, 5.0, "Run", 0.9),
    Detection(4.0, 6.0, "Run", 0.8),  # overlaps a better one of its class
    Detection(4.5, 4.75, "Jump & <turn>", 0.7),
    Detection(0.5, 3.0, "Run", 0.6),  # touches a better one
    Detection(7.0, 8.0, "Run", 0.1),  # far below the best
]


def test_the_ending_says_the_format() -> None:
    names = {"a.json": "json", "a.CSV": "csv", "a.eaf": "elan", "a": "json", "a.txt": "json"}
    assert {name: exports.format_of(Path(name)) for name in names} == names


def test_csv(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    exports.write(output, "csv", {'a "b", c': ROWS[:1], "none": [], "d": ROWS[2:3]})
    with output.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["video", "label", "start", "end", "score"],
            ['a "b", c', "Run", "3.000", "5.000", "0.9000"],
            ["d", "Jump & <turn>", "4.500", "4.750", "0.7000"],
        ]


def test_json_is_what_predict_always_wrote(tmp_path: Path) -> None:
    exports.write(tmp_path / "out.json", "json", {"a": ROWS})
    assert read_predictions(tmp_path / "out.json") == {"a": ROWS}


def test_what_a_person_looks_at() -> None:
    assert exports.shown(ROWS) == [ROWS[3], ROWS[0], ROWS[2]]
    assert exports.shown([]) == []


def annotations(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """The annotations of an .eaf by tier, in milliseconds."""
    root = ET.parse(path).getroot()
    slots = root.findall("TIME_ORDER/TIME_SLOT")
    times = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) for slot in slots}
    assert list(times.values()) == sorted(times.values())
    types = {one.attrib["LINGUISTIC_TYPE_ID"] for one in root.findall("LINGUISTIC_TYPE")}
    found = {}
    identities = []
    for tier in root.findall("TIER"):
        assert tier.attrib["LINGUISTIC_TYPE_REF"] in types
        rows = tier.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
        identities += [row.attrib["ANNOTATION_ID"] for row in rows]
        found[tier.attrib["TIER_ID"]] = [
            (
                times[row.attrib["TIME_SLOT_REF1"]],
                times[row.attrib["TIME_SLOT_REF2"]],
                row.findtext("ANNOTATION_VALUE") or "",
            )
            for row in rows
        ]
    assert len(set(identities)) == len(identities)
    return found


def test_elan(tmp_path: Path) -> None:
    video = tmp_path / "my videos" / "a.mp4"
    exports.write(tmp_path / "out" / "x.eaf", "elan", {"a": ROWS}, {"a": video})
    path = tmp_path / "out" / "x.eaf"
    assert annotations(path) == {
        "Jump & <turn>": [(4500, 4750, "0.70")],
        "Run": [(500, 3000, "0.60"), (3000, 5000, "0.90")],
    }
    media = ET.parse(path).find("HEADER/MEDIA_DESCRIPTOR")
    assert media is not None
    assert media.attrib == {
        "MEDIA_URL": video.as_uri(),
        "MIME_TYPE": "video/mp4",
        "RELATIVE_MEDIA_URL": "../my videos/a.mp4",
    }


def test_via(tmp_path: Path) -> None:
    """What VIA 3 reads of a project: it groups segments by the options of a class."""
    video = tmp_path / "my videos" / "a.mp4"
    predictions = {"a": ROWS, "b/c": [Detection(-0.5, 1.0, "\x01", 1.0)], "none": []}
    exports.write(tmp_path / "x.json", "via", predictions, {"a": video})
    content = json.loads((tmp_path / "x.json").read_text())
    classes, score = content["attribute"]["1"], content["attribute"]["2"]
    assert [classes["aname"], score["aname"]] == ["class", "score"]
    assert classes["options"] == {n: n for n in ("Jump & <turn>", "Run", "\\x01")}
    assert content["project"]["vid_list"] == list(content["view"]) == ["1", "2", "3"]
    assert [view["fid_list"] for view in content["view"].values()] == [["1"], ["2"], ["3"]]
    assert [(f["fname"], f["loc"], f["src"]) for f in content["file"].values()] == [
        ("a.mp4", 3, video.as_uri()), ("b/c", 1, ""), ("none", 1, "")
    ]  # fmt: skip
    assert [(row["vid"], row["z"], row["av"]) for row in content["metadata"].values()] == [
        ("1", [0.5, 3.0], {"1": "Run", "2": "0.60"}),
        ("1", [3.0, 5.0], {"1": "Run", "2": "0.90"}),
        ("1", [4.5, 4.75], {"1": "Jump & <turn>", "2": "0.70"}),
        ("2", [0.0, 1.0], {"1": "\\x01", "2": "1.00"}),
    ]


def test_a_folder_of_elan_has_a_file_for_each_video(tmp_path: Path) -> None:
    names = ["a", "b/c", "none"]
    exports.check(tmp_path / "out", "elan", names)
    exports.write(tmp_path / "out", "elan", {"a": ROWS, "b/c": ROWS[:1], "none": []})
    written = {
        path.relative_to(tmp_path / "out").as_posix(): annotations(path)
        for path in (tmp_path / "out").rglob("*.eaf")
    }
    assert written.keys() == {"a.eaf", "b/c.eaf", "none.eaf"}
    assert written["b/c.eaf"] == {"Run": [(3000, 5000, "0.90")]}
    assert written["none.eaf"] == {}


def test_labels_that_xml_does_not_hold(tmp_path: Path) -> None:
    exports.write(tmp_path / "x.eaf", "elan", {"a": [Detection(0.0, 1e-6, "\x01", 1.0)]})
    assert annotations(tmp_path / "x.eaf") == {"\\x01": [(0, 1, "1.00")]}


def test_outputs_are_tried_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"expected a folder"):
        exports.check(tmp_path / "file", "elan", ["a"])
    with pytest.raises(OSError, match=r"the folder does not exist"):
        exports.check(tmp_path / "none" / "x.csv", "csv", None)
    with pytest.raises(ValueError, match=r"x.eaf: expected the name of a folder.* there are 2"):
        exports.check(tmp_path / "x.eaf", "elan", ["a", "b"])
