"""`bench data convert`: what it writes, refuses and says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cl_ner_bench.cli import convert as convert_command
from cl_ner_bench.cli.main import main
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.writers import FORMATS

FLAT = {"tokens": ["Ida", "left", "Ume"], "entities": [[0, 1, "PER"], [2, 3, "LOC"]]}
NESTED = {"tokens": ["Ume", "Ltd."], "entities": [[0, 1, "LOC"], [0, 2, "ORG"]]}
REJECTED = {"text": "so", "spans": [], "answer": "reject"}


def corpus(folder: Path, *rows: object) -> Path:
    folder.mkdir()
    for part in ("train", "dev", "test"):
        (folder / f"{part}.json").write_text(json.dumps(rows))
    return folder


def convert(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    code = main(["data", "convert", *map(str, words)])
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_gives_the_same_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str) -> None:
    source, out = corpus(tmp_path / "in", FLAT, FLAT), tmp_path / "out"
    code, said = convert(capsys, source, out, "--format", format_)
    assert code == 0, said
    endings = {"jsonl": ".jsonl", "conll": ".conll", "brat": ".txt and .ann"}
    assert said.splitlines() == [
        f"{out}/{part}{endings[format_]}: 2 sentences, 4 mentions" for part in ("train", "dev", "test")
    ]
    assert load_corpus(str(out)).fingerprint == load_corpus(str(source)).fingerprint


def test_what_a_format_cannot_hold_is_refused_or_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = corpus(tmp_path / "in", FLAT, NESTED), tmp_path / "out"
    lost = "mentions that overlap one of the same length or longer: 3 (the first: train sentence 1, 'LOC' 'Ume')"
    code, said = convert(capsys, source, out, "--format", "conll")
    assert (code, out.exists()) == (2, False)
    assert said == (
        f"error: --format conll cannot hold {lost}. Choose jsonl, which holds everything, or pass --lossy to leave "
        "these out\n"
    )
    code, said = convert(capsys, source, out, "--format", "conll", "--lossy")
    assert code == 0
    assert f"left out: {lost}\n" in said
    found = load_corpus(str(out)).parts["dev"][1].mentions
    assert [tuple(mention) for mention in found] == [(0, 2, "ORG")]


def test_words_that_brat_does_not_keep_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = corpus(tmp_path / "in", FLAT, NESTED), tmp_path / "out"
    code, said = convert(capsys, source, out, "--format", "brat")
    assert code == 0
    assert "brat holds no borders of words: 3 words (the first: 'Ltd.') are cut further" in said
    (out / "card.toml").write_text('name = "x"\ntitle = "x"\n[reader_options]\nwords = "blanks"\n')
    assert load_corpus(str(out / "card.toml")).fingerprint == load_corpus(str(source)).fingerprint
    assert load_corpus(str(out)).parts["dev"][1].words == ("Ume", "Ltd", ".")


def test_nothing_is_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = corpus(tmp_path / "in", FLAT), tmp_path / "out"
    out.mkdir()
    (out / "train.jsonl").write_text("mine")
    (out / "notes.md").write_text("mine")
    code, said = convert(capsys, source, out, "--format", "jsonl")
    assert code == 2
    assert said == f"error: OUT {out} holds files (notes.md, train.jsonl); name another folder, or pass --overwrite\n"
    assert (out / "train.jsonl").read_text() == "mine"
    code, said = convert(capsys, source, out, "--format", "jsonl", "--overwrite")
    assert code == 0
    assert f"{out}/train.jsonl: 1 sentence, 2 mentions (replaced)\n{out}/dev.jsonl: 1 sentence, 2 mentions\n" in said
    assert f"{out} holds other files, which stay as they are: notes.md" in said
    assert "mine" not in (out / "train.jsonl").read_text()
    code, said = convert(capsys, source, source, "--format", "jsonl", "--overwrite")
    assert (code, said) == (2, f"error: OUT {source} is the folder of IN; name another folder\n")
    code, said = convert(capsys, source, source / "train.json", "--format", "jsonl")
    assert code == 2
    assert "train.json is a file; name a folder" in said


def test_notes_of_the_reader_of_dropped_types_and_of_the_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = corpus(tmp_path / "in", FLAT, REJECTED)
    card = source / "card.toml"
    for licence, said_of_it in (
        ("a contract: the text may not be shared", "do not share these files. Licence of X: a contract"),
        ("CC BY 4.0", "licence of X: CC BY 4.0"),
    ):
        card.write_text(f'name = "x"\ntitle = "X"\nlicence = "{licence}"\n[tasks]\npeople = ["PER"]\n')
        code, said = convert(capsys, card, tmp_path / licence[:2], "--format", "jsonl")
        assert code == 0
        assert "\ntexts that their annotator rejected, ignored or cancelled: 3 (the first: " in said
        assert "types in no task (train / dev / test mentions, which count as O): LOC 1 / 1 / 1" in said
        assert said.splitlines()[-1].startswith(said_of_it)


def test_a_sample_and_a_single_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = corpus(tmp_path / "in", FLAT, FLAT, FLAT)
    code, said = convert(capsys, source, tmp_path / "out", "--format", "jsonl", "--max-sentences", "2")
    assert code == 0
    assert "a random sample (--max-sentences): 2 of 3 train, 2 of 3 dev, 2 of 3 test sentences\n" in said
    assert len(load_corpus(str(tmp_path / "out")).parts["train"]) == 2
    words = (source / "train.json", tmp_path / "parts", "--format", "conll", "--parts", "34,33,33")
    code, said = convert(capsys, *words)
    assert code == 0, said
    assert f"{tmp_path}/parts/dev.conll: 1 sentence, 2 mentions\n" in said


def test_wrong_use_of_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = corpus(tmp_path / "in", FLAT)
    assert list(FORMATS) == list(convert_command.FORMATS)  # which are named without reading the module of writers
    assert convert(capsys, source, tmp_path / "out", "--format", "conl")[1].count("Did you mean 'conll'?") == 1
    assert "--format" in convert(capsys, source, tmp_path / "out")[1]
    assert convert(capsys, "synthetc", tmp_path / "out", "--format", "jsonl")[1].startswith("error: 'synthetc' is no")
