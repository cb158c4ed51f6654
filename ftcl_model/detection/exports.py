"""Predicted segments as files that other programs open: a table, annotations for ELAN and VIA."""

from __future__ import annotations

import csv
import io
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

from ftcl_model.detection.predictions import Detection, write_predictions
from ftcl_model.errors import InputError
from ftcl_model.files import check_output_file, check_output_folder, write_json, write_text
from ftcl_model.texts import one_line

Format = Literal["json", "csv", "elan", "via"]
"""ActivityNet's results file, a table, an .eaf of each video, and a project of VIA 3."""
FORMATS: tuple[Format, ...] = get_args(Format)
DRAWN_SCORE = 0.3
"""Predictions that score less than this share of their video's best are not shown."""
_MIME_TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mpg": "video/mpeg"}

Predictions = Mapping[str, Sequence[Detection]]


def format_of(output: Path) -> Format:
    """The format that the ending of an output says, "json" by all others."""
    endings: dict[str, Format] = {".csv": "csv", ".eaf": "elan"}
    return endings.get(output.suffix.lower(), "json")


def check(output: Path, form: Format, names: Sequence[str] | None) -> None:
    """Find out before the work whether predictions can be written.

    Args:
        output: a file or a folder, see `outputs`.
        form: one of `FORMATS`.
        names: of the videos, None if they are not known yet.

    Raises:
        InputError: as `outputs`.
        OSError: as `files.check_output_file` and `check_output_folder`.
    """
    if form == "elan" and output.suffix.lower() != ".eaf":
        check_output_folder(output)
    else:
        outputs(output, form, names or [""])
        check_output_file(output)


def outputs(output: Path, form: Format, names: Sequence[str]) -> dict[str, Path]:
    """The file for each video: ELAN's are NAME.eaf in the folder `output`, the others one file.

    An output of one video that ends in .eaf is that video's file.

    Raises:
        InputError: one .eaf is asked for, and there are several videos.
    """
    if form != "elan":
        return dict.fromkeys(names, output)
    if output.suffix.lower() != ".eaf":
        return {name: output / f"{name}.eaf" for name in names}
    if len(names) != 1:
        raise InputError(
            f"{output}: expected the name of a folder, with --format elan: a file holds one video, "
            f"there are {len(names)}"
        )
    return {names[0]: output}


def write(
    output: Path, form: Format, predictions: Predictions, videos: Mapping[str, Path] | None = None
) -> None:
    """Write predictions.

    Args:
        output: a file or, in the format of ELAN, a folder; see `outputs`.
        form: one of `FORMATS`.
        predictions: by video.
        videos: their files, to which those of ELAN and VIA refer.

    Raises:
        InputError: as `outputs`.
        OSError: an output cannot be written.
    """
    if form == "json":
        write_predictions(output, predictions)
    elif form == "csv":
        write_text(output, csv_text(predictions))
    elif form == "via":
        write_json(output, via_project(predictions, videos or {}))
    else:
        for name, path in outputs(output, form, list(predictions)).items():
            write_text(path, elan_text(predictions[name], (videos or {}).get(name), path.parent))


def csv_text(predictions: Predictions) -> str:
    """A table of all segments, a line each: video, label, start, end (seconds) and score."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["video", "label", "start", "end", "score"])
    for name, rows in predictions.items():
        for row in rows:
            table.writerow(
                [name, row.label, f"{row.start:.3f}", f"{row.end:.3f}", f"{row.score:.4f}"]
            )
    return text.getvalue()


def shown(detections: Sequence[Detection]) -> list[Detection]:
    """Of the detections of a video those that a person would look at, by rising start.

    These score at least `DRAWN_SCORE` of the best one, and overlap no better one of their
    class, as two annotations in one of ELAN's tiers may not.
    """
    kept: list[Detection] = []
    least = DRAWN_SCORE * max((one.score for one in detections), default=0.0)
    for one in sorted(detections, key=lambda detection: -detection.score):
        if one.score < least:
            break
        alike = (other for other in kept if other.label == one.label)
        if all(one.end <= other.start or one.start >= other.end for other in alike):
            kept.append(one)
    return sorted(kept)


def via_project(predictions: Predictions, videos: Mapping[str, Path]) -> dict[str, Any]:
    """A project of VIA 3 (https://www.robots.ox.ac.uk/~vgg/software/via/) as JSON holds it.

    Every video is a view with the segments that `shown` says, each with its class, by which VIA
    makes timelines, and its score. A video whose file is not known is one that VIA asks for.

    Args:
        predictions: by video.
        videos: their files, as far as they are known.
    """
    labels = sorted({one_line(row.label) for rows in predictions.values() for row in rows})
    attribute = {"anchor_id": "FILE1_Z2_XY0", "desc": "", "options": {}, "default_option_id": ""}
    files, views, segments = {}, {}, {}
    for number, (name, rows) in enumerate(predictions.items(), start=1):
        video, key = videos.get(name), str(number)
        files[key] = {
            "fid": key,
            "fname": name if video is None else video.name,
            "type": 4,  # a video
            "loc": 1 if video is None else 3,  # a file that is asked for, or a URI of one
            "src": "" if video is None else video.absolute().as_uri(),
        }
        views[key] = {"fid_list": [key]}
        for index, row in enumerate(shown(rows), start=1):
            segments[f"{key}_{index}"] = {
                "vid": key,
                "flg": 0,
                "z": [round(max(row.start, 0.0), 3), round(row.end, 3)],
                "xy": [],
                "av": {"1": one_line(row.label), "2": f"{row.score:.2f}"},
            }
    return {
        "project": {
            # Marks of a project that is on no server.
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": "ftcl_model",
            "creator": "ftcl_model",
            "created": round(1000 * datetime.now(timezone.utc).timestamp()),
            "data_format_version": "3.1.1",
            "vid_list": list(views),
        },
        "config": {
            "file": {"loc_prefix": dict.fromkeys("1234", "")},
            "ui": {"file_content_align": "center"},
        },
        "attribute": {
            "1": attribute | {"aname": "class", "type": 4, "options": {n: n for n in labels}},
            "2": attribute | {"aname": "score", "type": 1},
        },
        "file": files,
        "view": views,
        "metadata": segments,
    }


def elan_text(detections: Sequence[Detection], video: Path | None, folder: Path) -> str:
    """The annotations of a video as ELAN has them: a tier for each class, the score as the value.

    EAF 3.0 (https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf), times in
    milliseconds. What is in it is said by `shown`.

    Args:
        detections: of the video.
        video: its file, None if it is not known.
        folder: of the annotations, from which the video is found when both are moved.
    """
    document = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "ftcl_model",
            "DATE": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ET.SubElement(document, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    if video is not None:
        relative = Path(os.path.relpath(video.absolute(), folder.absolute())).as_posix()
        ET.SubElement(
            header,
            "MEDIA_DESCRIPTOR",
            {
                "MEDIA_URL": video.absolute().as_uri(),
                "MIME_TYPE": _MIME_TYPES.get(video.suffix.lower(), "unknown"),
                "RELATIVE_MEDIA_URL": relative if relative.startswith("../") else f"./{relative}",
            },
        )
    rows = shown(detections)
    slots = _slots(ET.SubElement(document, "TIME_ORDER"), rows)
    for label in sorted({row.label for row in rows}):
        tier = ET.SubElement(
            document, "TIER", {"LINGUISTIC_TYPE_REF": "default-lt", "TIER_ID": one_line(label)}
        )
        for index, row in enumerate(rows):
            if row.label == label:
                first, last = slots[index]
                annotation = ET.SubElement(
                    ET.SubElement(tier, "ANNOTATION"),
                    "ALIGNABLE_ANNOTATION",
                    {
                        "ANNOTATION_ID": f"a{index + 1}",
                        "TIME_SLOT_REF1": first,
                        "TIME_SLOT_REF2": last,
                    },
                )
                ET.SubElement(annotation, "ANNOTATION_VALUE").text = f"{row.score:.2f}"
    ET.SubElement(
        document,
        "LINGUISTIC_TYPE",
        {
            "GRAPHIC_REFERENCES": "false",
            "LINGUISTIC_TYPE_ID": "default-lt",
            "TIME_ALIGNABLE": "true",
        },
    )
    ET.indent(document)
    declaration = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{declaration}\n{ET.tostring(document, encoding='unicode')}\n"


def _slots(order: ET.Element, rows: Sequence[Detection]) -> list[tuple[str, str]]:
    """Add the time slots of the segments in the order of their times; their names by segment."""
    times = []
    for index, row in enumerate(rows):
        start = round(1000 * max(row.start, 0.0))
        # What has no length is no annotation.
        times += [(start, index, 0), (max(round(1000 * row.end), start + 1), index, 1)]
    names = [["", ""] for _ in rows]
    for number, (time, index, side) in enumerate(sorted(times), start=1):
        names[index][side] = f"ts{number}"
        values = {"TIME_SLOT_ID": names[index][side], "TIME_VALUE": str(time)}
        ET.SubElement(order, "TIME_SLOT", values)
    return [(first, last) for first, last in names]
