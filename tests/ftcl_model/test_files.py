import json

import pytest

from ftcl_model.files import read_text, write_json, written_whole


def test_file_takes_its_name_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with written_whole(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_failure_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail():
        with written_whole(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_folder_is_whole_and_a_full_one_is_not_replaced(tmp_path):
    target = tmp_path / "folder"

    def write(text):
        with written_whole(target) as temporary:
            temporary.mkdir()
            (temporary / "a").write_text(text)

    write("1")
    assert (target / "a").read_text() == "1"
    with pytest.raises(OSError, match="folder"):
        write("2")
    assert (target / "a").read_text() == "1"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_holds_no_nan_and_no_infinity(tmp_path, value):
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, None]})
    before = path.read_text()
    assert json.loads(before) == {"a": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": [value]})
    assert path.read_text() == before


def test_a_file_in_another_encoding_or_missing_is_named(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("Größe", encoding="utf-8")
    assert read_text(path) == "Größe"
    path.write_text("Größe", encoding="latin-1")
    with pytest.raises(ValueError, match=r"file\.txt: not readable as UTF-8 text"):
        read_text(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"file\.txt: the file is missing"):
        read_text(path)
