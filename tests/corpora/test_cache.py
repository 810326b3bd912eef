"""The cache of parsed corpora: hits, misses and damaged files."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cl_ner_bench import caches
from cl_ner_bench.corpora import cache
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Mention, Sentence
from cl_ner_bench.corpora.synthetic.generate import generator_files

TEXT = "Anna\tB-PER\nsings\tO\n\nBonn\tB-LOC\nand\tO\nAcme\tB-ORG\nAG\tI-ORG\n\nNothing\tO\n\n"
CORPUS = cache.Parsed(
    {
        "train": (
            Sentence(0, ("Anna", "sings", "Anna"), (Mention(0, 1, "PER"), Mention(0, 3, "WORK"), Mention(2, 3, "PER"))),
            Sentence(1, ('"\\\u2028', "日本", "🧑‍🚀", "שלום"), (Mention(1, 2, "LOC"),)),
            Sentence(2, ("none",)),
        ),
        "dev": (Sentence(0, ("x",)),),
        "test": (Sentence(0, ("a b", "\ttab"), (Mention(0, 2, "odd type"),)),),
    },
    ("said once",),
    (0, 7),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus folder; the cache beside it is empty."""
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    for part in PARTS:
        (folder / f"{part}.txt").write_text(TEXT)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one whenever the text itself is read."""
    from cl_ner_bench.corpora import load

    found: list[str] = []
    rows_of = load.rows_of
    monkeypatch.setattr(load, "rows_of", lambda card, *rest: found.append(card.name) or rows_of(card, *rest))
    return found


def stored() -> list[Path]:
    return sorted((cache.cache_folder() / "corpora").glob("*"))


def test_what_is_written_is_read(folder: Path) -> None:
    remarks: list[str] = []
    assert cache.read("0" * 64, remarks) is None
    cache.write("0" * 64, CORPUS, remarks)
    assert cache.read("0" * 64, remarks) == CORPUS
    assert remarks == []
    assert [p.name for p in stored()] == ["0" * 64 + ".corpus"]
    words = {id(w) for s in cache.read("0" * 64, remarks).parts["train"] for w in s.words if w == "Anna"}
    assert len(words) == 1  # each word is in memory once


def test_a_generated_corpus_is_generated_once(
    tmp_path: Path, folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_corpus("synthetic", max_sentences=20)
    assert load_corpus("synthetic", max_sentences=20) == first
    assert (reads, first.source, first.remarks) == (["synthetic"], "generated", ())
    files = generator_files()
    assert {name for name, _ in files} >= {"generate.py", "writer.py", "v2/grammar.txt", "v2/words.txt"}
    changed = tmp_path / "changed"
    changed.write_text("another grammar")
    monkeypatch.setattr("cl_ner_bench.corpora.load.generator_files", lambda: [*files[:-1], (files[-1][0], changed)])
    load_corpus("synthetic")
    assert reads == ["synthetic", "synthetic"], "another generator"


def test_a_second_start_reads_no_text(folder: Path, reads: list[str]) -> None:
    first = load_corpus(str(folder))
    again = load_corpus(str(folder))
    assert reads == ["mine"]
    assert (again.parts, again.remarks, again.source) == (first.parts, first.remarks, first.source)
    assert again.fingerprint == first.fingerprint
    moved = folder.rename(folder.parent / "moved")
    assert load_corpus(str(moved)).fingerprint == first.fingerprint
    assert reads == ["mine"]


def test_what_makes_another_entry(folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    load_corpus(str(folder))
    (folder / "dev.txt").write_text(TEXT.replace("sings", "sang"))
    assert load_corpus(str(folder)).parts["dev"][0].words == ("Anna", "sang")
    (folder / "card.toml").write_text('[reader_options]\nrename = { PER = "person" }\n')
    assert "person" in load_corpus(str(folder / "card.toml")).card.types
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    load_corpus(str(folder))
    assert len(reads) == len(stored()) == 4
    (folder / "test.txt").rename(folder / "testb.txt")
    load_corpus(str(folder))
    assert len(reads) == 5


def test_tasks_and_samples_share_an_entry(folder: Path, reads: list[str]) -> None:
    load_corpus(str(folder))
    assert load_corpus(str(folder), tasks="PER").card.types == ("PER",)
    assert load_corpus(str(folder), max_sentences=2).ids("train") != (0, 1, 2)
    assert len(reads) == 1


def test_remarks_of_the_reading_are_kept(folder: Path, reads: list[str]) -> None:
    (folder / "train.txt").write_text(TEXT.replace("B-ORG", "I-PER"))  # I after O, and I-ORG after I-PER
    first = load_corpus(str(folder))
    (remark,) = first.remarks
    assert f"{folder}/train.txt:6" in remark
    assert load_corpus(str(folder)).remarks == first.remarks
    moved = folder.rename(folder.parent / "moved")
    assert load_corpus(str(moved)).remarks == (remark.replace(str(folder), str(moved)),)
    assert len(reads) == 1


QUIRKS = {
    "a.txt": "Anna\tI-PER\nAnna\tB-PER\nsang\tO\r\n\n-DOCSTART-\tO\n\nBonn\tI-LOC\nAG\tI-ORG\n",
    "b.txt": "x Anna NN person-actor\n\ny , , O\nz Bonn NN location\n",
    "c.jsonl": '{"tokens": ["Anna", "sang"], "entities": [[0, 1, "PER"], [0, 2, "X"]]}\n'
    '{"text": "Änne sang 日本!", "entities": [[0, 4, "PER"], {"start": 10, "end": 12, "label": "LOC"}]}\n',
    "d.conll": "Bonn\tS-LOC\nNew\tB-LOC\nYork\tE-LOC\n\nx\tO\n",
    "e.txt": "# a remark\n1 Anna B\n2 Berg I\n3 sang O\n",
    "f.txt": "x\tT1\tAnna\tB-PER\nx\tT2\tsang\tO\n",
}
READ = (7, "b28d0f05be998a8b")


def test_the_version_is_raised_when_readers_read_otherwise(tmp_path: Path) -> None:
    """Old caches would give back what older readers read. Raise cache.VERSION, then correct READ."""
    import hashlib

    from cl_ner_bench.corpora.readers.folder import read_rows
    from cl_ner_bench.corpora.readers.options import ReaderOptions
    from cl_ner_bench.corpora.readers.problems import Report

    digest = hashlib.sha256()
    for name, text in QUIRKS.items():
        (tmp_path / name).write_bytes(text.encode())
        for row in read_rows(tmp_path / name, ReaderOptions(word_column=1 if name == "b.txt" else 0), Report()):
            digest.update(repr((row.words, [tuple(m) for m in row.mentions])).encode())
    assert (cache.VERSION, digest.hexdigest()[:16]) == READ


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other schema", "no newline"])
def test_a_damaged_file_is_noticed_said_and_made_again(folder: Path, reads: list[str], damage: str) -> None:
    first = load_corpus(str(folder))
    path = stored()[0]
    data = path.read_bytes()
    header, _, body = data.partition(b"\n")
    damaged = {
        "cut": data[:-5],
        "flip": data.replace(b"Anna", b"Hans"),
        "empty": b"",
        "other schema": json.dumps(json.loads(header) | {"schema": 0}).encode() + b"\n" + body,
        "no newline": data.replace(b"\n", b""),
    }[damage]
    path.write_bytes(damaged)
    again = load_corpus(str(folder))
    assert again.parts == first.parts
    assert again.remarks == (f"a damaged file in the cache was made again ({path})",)
    assert len(reads) == 2
    assert path.read_bytes() == data
    assert load_corpus(str(folder)).remarks == ()


def test_a_cache_that_cannot_be_written_is_a_remark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = folder.parent / "a file"
    blocked.write_text("")
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(blocked))
    corpus = load_corpus(str(folder))
    assert len(corpus.parts["train"]) == 3
    assert any("the cache cannot be written" in remark for remark in corpus.remarks)
    assert blocked.read_text() == ""


def test_a_failed_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    remarks: list[str] = []
    cache.write("0" * 64, CORPUS, remarks)
    assert "No space left" in remarks[0]
    assert stored() == []


def test_nothing_is_written_elsewhere(folder: Path) -> None:
    load_corpus(str(folder))
    assert sorted(p.name for p in folder.parent.iterdir()) == ["cache", "mine"]
    assert sorted(p.name for p in folder.iterdir()) == ["dev.txt", "test.txt", "train.txt"]
    assert stat.S_ISREG(stored()[0].stat().st_mode)


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "here"))
    assert cache.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("CL_NER_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder().name == "cl-ner-bench"


def test_libraries_are_kept_to_the_cache_unless_the_user_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))
    names = ("MPLCONFIGDIR", "FONTCONFIG_FILE", "CUDA_CACHE_PATH", "TRITON_CACHE_DIR", "PYTORCH_KERNEL_CACHE_PATH")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    found = caches.plotting_environment() | caches.kernel_environment()
    assert {*names} - {*found} <= ({"FONTCONFIG_FILE"} if sys.platform != "linux" else set())
    assert all(tmp_path / "cache" in Path(place).parents for place in found.values())
    for name in names:
        monkeypatch.setenv(name, "mine")
    assert not {*names} & {*caches.plotting_environment(), *caches.kernel_environment()}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fc-list"), reason="fontconfig is not here")
def test_fontconfig_finds_the_same_fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache & <more>"))
    monkeypatch.delenv("FONTCONFIG_FILE", raising=False)
    fonts = [
        sorted(
            subprocess.run(
                ["fc-list"], env=os.environ | more, capture_output=True, text=True, check=True
            ).stdout.splitlines()
        )
        for more in ({}, caches.plotting_environment())
    ]
    assert fonts[0] == fonts[1] != []


def naive_fingerprint(corpus: Corpus) -> str:
    import hashlib

    digest = hashlib.sha256()
    for part in PARTS:
        for s in corpus.used(part):
            digest.update(json.dumps([part, s.id, s.words, s.mentions], ensure_ascii=False).encode())
    return digest.hexdigest()


def test_the_fingerprint_is_that_of_plain_json(folder: Path) -> None:
    corpus = load_corpus(str(folder))
    assert corpus.fingerprint == naive_fingerprint(corpus)
    odd = Corpus(corpus.card, CORPUS.parts, "made up", sample={"train": (0, 2), "dev": (0,), "test": (0,)})
    assert odd.fingerprint == naive_fingerprint(odd)
