import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.image import imread
from matplotlib.text import Text

from ftcl_model.data.annotations import Segment
from ftcl_model.detection.predictions import Detection
from ftcl_model.report import sheet
from ftcl_model.report.alignments import AlignmentFigure, draw_alignments
from ftcl_model.report.sheet import PALETTE
from ftcl_model.report.timelines import Timeline, draw_timelines

CLASSES = ("jump", "run", "walk")


def timeline(**changes):
    rng = np.random.default_rng(0)
    given = {
        "name": "video_1",
        "seconds_per_snippet": 0.5,
        "duration": 20.0,
        "truth": [Segment(2.0, 6.0, "run"), Segment(10.0, 15.0, "walk")],
        "attention": rng.random(40),
        "class_scores": rng.random((40, 3)),
        "classes": CLASSES,
        "predictions": [Detection(2.5, 6.0, "run", 0.9), Detection(10.0, 13.0, "walk", 0.3)],
    }
    return Timeline(**{**given, **changes})


def alignment(n=6, m=9, **changes):
    rng = np.random.default_rng(0)
    given = {
        "title": "positive pair",
        "similarity": rng.uniform(-1, 1, (n, m)),
        "expected_alignment": rng.random((n, m)) * 0.8,
        "path": [(0, 1), (2, 3), (5, 5)],
        "names": ("video_1", "video_2"),
        "seconds": (0.5, 2.0),
        "score": 1.5,
        "labels": (["run"] * n, ["run"] * (m - 2) + [""] * 2),
        "classes": CLASSES,
    }
    return AlignmentFigure(**{**given, **changes})


@pytest.fixture
def pages(monkeypatch):
    """The pages saved during a test."""
    saved = []
    save = sheet.Sheet.save

    def keep(page, path):
        save(page, path)
        saved.append(page)

    monkeypatch.setattr(sheet.Sheet, "save", keep)
    return saved


def texts_of(page):
    """Visible texts and their boxes in pixels."""
    renderer = page.figure.canvas.get_renderer()
    artists = [text for text in page.figure.findobj(Text) if text.get_visible()]
    ticks = {
        label
        for axes in page.figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks() + axis.get_minor_ticks()
        for label in (tick.label1, tick.label2)
        if not (tick.get_visible() and axes.axison and inside(axis, tick))
    }
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in artists
        if text.get_text() and text not in ticks
    ]


def inside(axis, tick):
    low, high = sorted(axis.get_view_interval())
    return low <= tick.get_loc() <= high


def has_colour(path, colour):
    pixels = imread(path)[..., :3]
    return bool((np.abs(pixels - to_rgb(colour)).max(axis=-1) < 0.01).any())


MANY = tuple(f"LongClassName{i:02d}" for i in range(20))
CROWDED = timeline(
    classes=MANY,
    class_scores=np.random.default_rng(1).normal(size=(40, 20)) * 30,
    truth=[Segment(i, i + 0.9, label) for i, label in enumerate(MANY[:4])],
    predictions=[Detection(i, i + 0.5, label, 0.5) for i, label in enumerate(MANY)],
)


HOSTILE = (
    *("$\\frac$", "a$_$b", "_walk", "background", "<script>|", "tab\there\nnew", "\u202eevil"),
    *("跑步 🏃\u200d♂️", "\ud800", "W" * 5000, "عربي", "größe"),
)
NAMED = timeline(
    name="a$_$b " + 300 * "長",
    classes=HOSTILE,
    class_scores=np.random.default_rng(1).random((40, len(HOSTILE))),
    truth=[Segment(i, i + 0.9, label) for i, label in enumerate(HOSTILE)],
    predictions=[Detection(i, i + 0.5, label, 0.5) for i, label in enumerate(HOSTILE)],
)
PAIRED = alignment(
    title=f"$_$ and {3000 * 'W'}: same classes",
    names=(40 * "$\\frac$", 3000 * "W"),
    labels=(6 * [HOSTILE[0]], 5 * [HOSTILE[2]] + 3 * [HOSTILE[3]] + [""]),
    classes=HOSTILE,
)


@pytest.mark.parametrize("how", [{}, {"width": 4.6}], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    "draw",
    [
        lambda path, **how: draw_timelines(
            path, [timeline(), timeline(name="video_2", truth=[])], **how
        ),
        lambda path, **how: draw_timelines(path, [CROWDED], **how),
        lambda path, **how: draw_alignments(path, [alignment(), alignment(30, 12)], **how),
        lambda path, **how: draw_alignments(path, [alignment(5, 200, labels=None)], **how),
        lambda path, **how: draw_timelines(path, [NAMED], **how),
        lambda path, **how: draw_alignments(path, [PAIRED], **how),
    ],
    ids=["timelines", "many classes", "alignments", "wide alignment", "names", "names of a pair"],
)
@pytest.mark.filterwarnings("error")
def test_no_text_overlaps_or_leaves_the_page(tmp_path, pages, draw, how):
    draw(tmp_path / "picture.png", **how)
    (page,) = pages
    texts = texts_of(page)
    assert len(texts) > 10
    width, height = page.figure.canvas.get_width_height()
    for text, box in texts:
        assert 0 <= box.x0 < box.x1 <= width, text
        assert 0 <= box.y0 < box.y1 <= height, text
    overlaps = [
        (one, other)
        for (one, box), (other, another) in combinations(texts, 2)
        if min(box.x1, another.x1) - max(box.x0, another.x0) > 1
        and min(box.y1, another.y1) - max(box.y0, another.y0) > 1
    ]
    assert not overlaps


def test_timelines_say_what_they_show(tmp_path, pages):
    path = tmp_path / "new folder" / "timelines.png"
    draw_timelines(path, [timeline()])
    texts = {text for text, _ in texts_of(pages[0])}
    assert {"video_1", "run, walk", "truth", "predictions", "attention", "class scores"} <= texts
    # Classes keep the colour of their place in the class list; jump does not occur.
    assert {"run", "walk"} <= texts
    assert "jump" not in texts
    assert has_colour(path, PALETTE[1])
    assert has_colour(path, PALETTE[2])
    assert not has_colour(path, PALETTE[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "settings", [{}, {"text.usetex": True, "axes.formatter.use_mathtext": True}], ids=["", "TeX"]
)
def test_any_name_is_drawn_as_it_is(tmp_path, pages, settings):
    with rc_context(settings):
        draw_timelines(tmp_path / "timelines.png", [NAMED])
        draw_alignments(tmp_path / "alignment.png", [PAIRED])
    timelines, alignments = ({text for text, _ in texts_of(page)} for page in pages)
    assert set(HOSTILE[:5]) | {r"tab\there\nnew", r"\u202eevil", r"\ud800", "größe"} <= timelines
    # Cut in the middle to what fits, and with escapes for what the font lacks.
    assert any(re.fullmatch("W+…W+", text) for text in timelines)
    assert any(text.startswith(r"a$_$b \u9577\u9577") for text in timelines)
    assert any(text.startswith(r"\u8dd1\u6b65") or "…" in text for text in timelines)
    assert {"$\\frac$", "_walk", "background"} <= alignments
    assert any(re.fullmatch(r"\$_\$ and W+….*: same classes", text) for text in alignments)
    assert any(re.fullmatch(r"seconds of \$\\frac\$.*….*", text) for text in alignments)


def test_a_class_of_any_name_has_its_colour(tmp_path, pages):
    """A class called background is not the background, and one that begins with _ is there."""
    draw_alignments(tmp_path / "alignment.png", [PAIRED])
    (legend,) = (axes.get_legend() for axes, *_ in pages[0].placed[:1])
    shown = [
        (text.get_text(), patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    ]
    colours = [PALETTE[0], PALETTE[2], PALETTE[3], sheet.FRAME]
    names = ["$\\frac$", "_walk", "background", "background"]
    assert shown == [(name, to_rgba(c)) for name, c in zip(names, colours, strict=True)]


def test_characters_of_the_readers_own_fonts_are_drawn() -> None:
    """A font of matplotlib's settings that has what the first one lacks."""
    letter = "\U0001d538"  # in DejaVu Sans
    with rc_context({"font.family": ["cmsy10"]}):
        assert sheet.drawable(f"a{letter}") == r"a\U0001d538"
    with rc_context({"font.family": ["no such font", "cmsy10", "DejaVu Sans"]}):
        assert sheet.drawable(f"a{letter}") == f"a{letter}"


def test_truth_and_predictions_lie_at_their_seconds(tmp_path, pages):
    draw_timelines(tmp_path / "timelines.png", [timeline()])
    strips = [axes for axes, *_ in pages[0].placed if axes.collections and not axes.lines]
    truth, predictions = (
        [path.get_extents() for collection in axes.collections for path in collection.get_paths()]
        for axes in strips
    )
    bars = {(round(box.x0, 6), round(box.x1, 6)) for box in truth}
    assert {(2.0, 6.0), (10.0, 15.0)} <= bars
    heights = {(round(box.x0, 6), round(box.x1, 6)): box.height for box in predictions}
    assert heights[10.0, 13.0] / heights[2.5, 6.0] == pytest.approx(1 / 3)


def test_each_timeline_adds_its_block(tmp_path, pages):
    draw_timelines(tmp_path / "one.png", [timeline()])
    draw_timelines(tmp_path / "three.png", [timeline()] * 3)
    one, three = (page.figure.get_size_inches()[1] for page in pages)
    assert three > 2.5 * one
    pixels = imread(tmp_path / "one.png").shape
    assert pixels[0] == pytest.approx(one * sheet.DOTS_PER_INCH, abs=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"predictions": []},
        {"truth": [], "predictions": []},
        {"predictions": [Detection(2.5, 6.0, "run", -0.5)]},
        {"attention": np.full(1, 0.5), "class_scores": np.zeros((1, 3)), "duration": 0.5},
    ],
    ids=["no predictions", "nothing", "negative scores", "one snippet"],
)
def test_unusual_timelines(tmp_path, pages, changes):
    draw_timelines(tmp_path / "timelines.png", [timeline(**changes)])
    assert "video_1" in {text for text, _ in texts_of(pages[0])}


def test_alignments_say_what_they_show(tmp_path, pages):
    path = tmp_path / "alignment.png"
    draw_alignments(path, [alignment(), alignment(title="negative pair", score=-0.25, path=[])])
    texts = [text for text, _ in texts_of(pages[0])]
    count = alignment().expected_alignment.sum()
    told = [f"score {score}, expected matches {count:.1f}" for score in ("1.50", "-0.25")]
    for text in ("positive pair", "negative pair", *told, "background"):
        assert texts.count(text) == 1
    assert texts.count("expected alignment") == 2
    assert texts.count("seconds of video_1") == 4
    assert texts.count("most likely matches") == 1
    assert texts.count("no match") == 1
    assert has_colour(path, PALETTE[1])


def test_alignment_shows_the_numbers_and_the_path(tmp_path, pages):
    picture = alignment()
    draw_alignments(tmp_path / "alignment.png", [picture])
    images = [axes.images[0] for axes, *_ in pages[0].placed if axes.images]
    for table in (picture.similarity, picture.expected_alignment):
        (shown,) = [image for image in images if np.array_equal(image.get_array(), table)]
        assert shown.get_clim() == (0, 1)
        # Columns of 2 s run to the right, rows of 0.5 s down.
        assert shown.get_extent() == [0, 18, 3, 0]
        assert shown.axes.yaxis_inverted()
    (line,) = shown.axes.lines
    assert line.get_xydata().tolist() == [[3, 0.25], [7, 1.25], [11, 2.75]]


@pytest.mark.parametrize("draw", [draw_timelines, draw_alignments])
def test_nothing_to_draw(tmp_path, draw):
    with pytest.raises(ValueError, match=f"{draw.__name__}: no .* given"):
        draw(tmp_path / "picture.png", [])
    assert list(tmp_path.iterdir()) == []
