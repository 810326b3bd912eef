"""The report: all files, whole, equal bytes, escaped, and honest about what is missing."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from cl_ner_bench.analysis.data.frames import COUNTS, SCORES, SUMMARY, load_results
from cl_ner_bench.analysis.report.files import write_report
from cl_ner_bench.errors import UserError
from cl_ner_bench.testing.results import write_grid, write_run

pytestmark = pytest.mark.slow

EVIL = '<script>alert("x")</script>&amp;'


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_grid(folder, ["spankl", "extendner", "joint-span"], n_steps=2, uncased=True)
    write_run(folder, EVIL, status="failed", reason=f"{EVIL}; log: x.txt", run_id="evil")
    write_run(folder, "seqstar", {1: {EVIL: [1, 2, 3]}}, label=EVIL, dataset=EVIL, run_id="evil-types")
    write_report([folder], folder)
    return folder


def test_all_files_are_there(written: Path) -> None:
    names = {str(p.relative_to(written)) for p in written.rglob("*") if p.is_file()}
    slug = "toy-split-minilm"
    assert {"counts.csv", "scores.csv", "summary.csv", "report.html"} <= names
    tables = {f"tables/{kind}-{view}-{slug}" for kind in ("main", "steps", "types") for view in ("all", "filter")}
    figures = {f"figures/{kind}-{view}-{slug}" for kind in ("steps", "plane") for view in ("all", "filter")}
    figures.add(f"figures/types-all-{slug}")
    assert {f"{name}.{suffix}" for name in tables for suffix in ("csv", "md", "tex")} <= names
    assert {f"{name}.{suffix}" for name in figures for suffix in ("pdf", "png", "csv")} <= names
    assert not [name for name in names if Path(name).name.startswith(".")]  # no temporary files


def test_csv_files_hold_the_frames(written: Path) -> None:
    results = load_results(written)
    for name, columns in (("counts", COUNTS), ("scores", SCORES), ("summary", SUMMARY)):
        frame = pd.read_csv(written / f"{name}.csv", dtype={"config": str})
        assert list(frame.columns) == columns
        expected = getattr(results, name).reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, expected, check_dtype=False, check_column_type=False, check_exact=True)
    scores = pd.read_csv(written / "scores.csv")
    assert scores.equals(scores.sort_values(["run_id", "view", "step"], kind="stable"))


def test_the_same_runs_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    for path in write_report([written], tmp_path):
        assert path.read_bytes() == (written / path.relative_to(tmp_path)).read_bytes(), path


class Tags(HTMLParser):
    """Every tag with its attributes; fails on end tags that close nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_self_contained_and_escaped(written: Path) -> None:
    page = (written / "report.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert {tag for tag, _ in tags.seen}.isdisjoint({"iframe", "object", "embed"})
    assert [attrs.get("rel") for tag, attrs in tags.seen if tag == "link"] == ["icon"]
    assert [attrs.get("src") for tag, attrs in tags.seen if tag == "script"] == [None, None]
    sources = [attrs["src"] or "" for tag, attrs in tags.seen if tag == "img"]
    assert len(sources) == len(list((written / "figures").glob("*.png")))
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not [name for _, attrs in tags.seen for name in attrs if name.startswith("on")]
    assert html.escape(EVIL, quote=False).replace('"', "&#34;") in page
    assert set(re.findall(r"https?://[^\"'<\s]+", page)) == {"http://www.w3.org/2000/svg"}, "a namespace, never loaded"


def test_the_page_says_notes_answer_provenance_and_failures(written: Path) -> None:
    page = html.unescape((written / "report.html").read_text())
    for text in (
        "Mean task F1 after the last step: ",
        "uncased encoder (minilm)",
        "one order",
        "prefers-color-scheme: dark",
        f"evil: failed ({EVIL}; log: x.txt)",
        '"recipe": "paper"',
        '"torch": "2.9"',
        "Order 0: 1. location; 2. person",
    ):
        assert text in page, text


def test_without_a_finished_run_the_error_says_what_to_do(tmp_path: Path) -> None:
    write_run(tmp_path, status="failed", reason="out of memory; log: x.txt")
    with pytest.raises(UserError, match=r"no finished run .*out of memory; log: x.txt.*resumes"):
        write_report([tmp_path], tmp_path)
    assert not (tmp_path / "report.html").exists()
