from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import numpy as np
import pytest

from ftcl_model.cli.main import main
from ftcl_model.config.config import load_config
from ftcl_model.data.annotations import Annotations, Segment, Video
from ftcl_model.detection.predictions import Detection
from ftcl_model.errors import InputError
from ftcl_model.extraction.clips import Clip, draw_clip, write_clip
from ftcl_model.model.ftcl import FTCL, save_checkpoint
from ftcl_model.report import html as page
from ftcl_model.report.player import mistakes, player_section
from tests.ftcl_model.tiny_folder import CLASSES, CONFIG, write_tiny_folder

TRUTH = (Segment(1.0, 2.0, "Run"), Segment(3.0, 4.0, "Jump"))
GOOD = [Detection(1.1, 2.0, "Run", 0.9), Detection(3.0, 3.8, "Jump", 0.8)]
BAD = [Detection(1.0, 2.0, "Jump", 0.9), Detection(3.0, 4.0, "Jump", 0.8)]
SECONDS = 5.0


def test_mistakes() -> None:
    assert mistakes(GOOD, TRUTH) == ((False, False), 0)
    found = mistakes(BAD, TRUTH)
    assert found == ((True, False), 1)
    assert found.total == 2
    twice = [Detection(1.0, 2.0, "Run", 0.5), Detection(1.0, 1.9, "Run", 0.6)]
    assert mistakes(twice, TRUTH) == ((True, False), 1)  # the better one has it
    assert mistakes([Detection(1.51, 2.5, "Run", 0.9)], TRUTH[:1]) == ((True,), 1)
    assert mistakes([], ()).total == 0


def section(folder: Path, truth: tuple[Segment, ...] = TRUTH) -> str:
    names = ("good", "a <b> & 100%")
    videos = {name: folder / "my videos" / f"{name}.mp4" for name in names}
    annotations = Annotations(
        ("Jump", "Run"), {name: Video(name, "test", SECONDS, truth) for name in names}
    )
    predictions = dict(zip(names, (GOOD, BAD), strict=True))
    seconds = dict.fromkeys(names, SECONDS)
    return player_section(videos, predictions, annotations, seconds, folder / "pages")


def test_most_mistakes_come_first(tmp_path: Path) -> None:
    text = section(tmp_path)
    captions = re.findall("<figcaption>(.*?)</figcaption>", text)
    assert captions == ["a &lt;b&gt; &amp; 100%: mistakes 2", "good: mistakes 0"]
    sources = re.findall('<video [^>]*src="(.*?)"', text)
    assert sources == [
        "../my%20videos/a%20%3Cb%3E%20%26%20100%25.mp4", "../my%20videos/good.mp4"
    ]  # fmt: skip
    assert text.count('class="wrong"') == 1
    titles = [html.unescape(title) for title in re.findall('title="(.*?)"', text)]
    assert titles[1] == "Jump 1.0 to 2.0 s, score 0.90"
    assert re.findall(r'data-start="1.100" style="left:22.000%;width:18.000%', text)


def test_without_a_segment_nothing_is_called_a_mistake(tmp_path: Path) -> None:
    text = section(tmp_path, ())
    assert "istake" not in text
    assert 'class="wrong"' not in text
    assert re.findall("<figcaption>(.*?)</figcaption>", text)[0] == "good"


def test_videos_of_the_split_are_played() -> None:
    videos = {"a": Path("a.mp4"), "b": Path("b.mp4")}
    annotations = Annotations(("Run",), {"b": Video("b", "test", SECONDS, ())})
    text = player_section(videos, {"b": []}, annotations, {"b": SECONDS, "c": 1.0}, Path())
    assert re.findall('<video [^>]*src="(.*?)"', text) == ["b.mp4"]
    with pytest.raises(InputError, match=r"expected videos of the test split, got a and no"):
        player_section(videos, {}, annotations, {"c": 1.0}, Path())


def test_the_page_of_a_run_plays_videos(tmp_path: Path) -> None:
    data, run = write_tiny_folder(tmp_path / "data"), tmp_path / "run"
    (tmp_path / "model.yaml").write_text(CONFIG)
    save_checkpoint(run / "model.pt", FTCL(load_config(tmp_path / "model.yaml"), CLASSES), 0)
    (tmp_path / "videos").mkdir()
    for name in ("test_1", "test_2", "other"):
        (tmp_path / "videos" / f"{name}.mp4").touch()
    words = ["report", str(run / "model.pt"), "--data", str(data), "--device", "cpu"]
    output = tmp_path / "page.html"
    main([*words, "--output", str(output), "--videos", str(tmp_path / "videos")])
    text = output.read_text()
    assert sorted(re.findall('<video [^>]*src="(.*?)"', text)) == [
        "videos/test_1.mp4", "videos/test_2.mp4"
    ]  # fmt: skip
    with pytest.raises(SystemExit, match=r"expected a video or a folder of videos"):
        main([*words, "--output", str(output), "--videos", str(tmp_path / "none")])


_CLICK = """<script>
addEventListener("load", () => {
  const player = document.querySelector(".player"), video = player.querySelector("video");
  const [, button] = player.querySelectorAll("button"), box = document.querySelector(".hide input");
  box.click();
  const hidden = [...player.querySelectorAll("button")].filter((one) => !one.offsetParent);
  video.addEventListener("seeked", () => {
    video.pause();
    new Image().src = `http://127.0.0.1:PORT/${video.currentTime}/${hidden.length}`;
  });
  if (video.readyState) button.click();
  else video.addEventListener("loadedmetadata", () => button.click());
});
</script>"""


@pytest.fixture
def told() -> Iterator[tuple[int, Queue[str]]]:
    """A port, and the paths that are asked for there."""
    paths: Queue[str] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.put(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, paths
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("width", [420, 1200])
def test_a_click_in_a_browser_goes_to_the_segment(
    tmp_path: Path, told: tuple[int, Queue[str]], width: int
) -> None:
    """The page is a file; what happens there it tells a server of the test."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    pytest.importorskip("av", reason="PyAV, which writes videos, is not installed")
    port, paths = told
    text = section(tmp_path)
    for name in ("good", "a <b> & 100%"):
        clip = draw_clip(Clip((), SECONDS), np.random.default_rng(0))
        write_clip(tmp_path / "my videos" / f"{name}.mp4", clip)
    path = tmp_path / "pages" / "page.html"
    path.parent.mkdir()
    probe = _CLICK.replace("PORT", str(port))
    path.write_text(page.page("title", text).replace("</body>", f"{probe}</body>"))
    words = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
        f"--user-data-dir={tmp_path / 'profile'}", path.as_uri(),
    ]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time, hidden = map(float, paths.get(timeout=90)[1:].split("/"))
    finally:
        process.terminate()
        process.wait()
    # The second button of the first player: a prediction of "Jump" from 1 s on.
    assert time == pytest.approx(1.0, abs=0.3)
    assert hidden == 3  # all of "Jump"
