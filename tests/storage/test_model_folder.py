"""The folder for a model is known to be writable before it is learned, and stays as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cl_ner_bench import extend
from cl_ner_bench.cli.main import main
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.files import temporary
from cl_ner_bench.storage.model_folder import refuse_out


def test_a_folder_that_can_be_written_is_not_made_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_out(tmp_path / "a" / "b")
    assert not [*tmp_path.iterdir()]
    (tmp_path / "empty").mkdir()
    refuse_out(tmp_path / "empty")
    refuse_out(tmp_path / "empty" / "b")
    assert [*tmp_path.rglob("*")] == [tmp_path / "empty"]
    monkeypatch.chdir(tmp_path)
    refuse_out(Path("a/b"))
    assert [*tmp_path.rglob("*")] == [tmp_path / "empty"]


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """Places where nothing can be written."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    unwritable = [Path("/proc/model")] if sys.platform == "linux" else []
    return [file, file / "model", link, tmp_path / ("a" * 300) / "model", *unwritable]


def test_a_place_that_cannot_be_written_is_refused(places: list[Path], tmp_path: Path) -> None:
    for out in places:
        with pytest.raises(UserError, match=r"cannot be written .*; pass another --out"):
            refuse_out(out)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}
    with pytest.raises(UserError, match="is not empty"):
        refuse_out(tmp_path)


def test_what_a_killed_process_left_is_no_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cl_ner_bench.storage.files.os.getpid", lambda: 2**22 + 1)
    temporary(tmp_path / "model").mkdir()
    refuse_out(tmp_path)


def test_commands_refuse_it_before_they_read_anything(places: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Neither model nor data are there, and the message is of the place."""
    for out in map(str, places):
        assert main(["extend", "no-model", "--data", "no-data", "--out", out]) == 2
        assert capsys.readouterr().err.startswith(f"error: --out {out}: cannot be written")
        assert main(["export", "no-model", "--out", out]) == 2
        assert capsys.readouterr().err.startswith(f"error: --out {out}: cannot be written")
        with pytest.raises(UserError, match="cannot be written"):
            extend("no-model", "no-data", out=out)
