"""`bench report --examples`: the choice of sentences, their table, and refusals."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.cli.main import main
from cl_ner_bench.corpora.card import FORBIDS_SHARING
from cl_ner_bench.corpora.cards import list_cards
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.report_examples import FILE, quote_examples, write_examples
from cl_ner_bench.running.report_texts import licences, write_texts
from cl_ner_bench.testing.results import write_run

TASKS = [{"name": "one", "types": ["PER"], "learned_at": 1}, {"name": "t*o", "types": ["LOC"], "learned_at": 2}]
TASKS.append({"name": "three", "types": ["ORG"], "learned_at": 3})
TEXT = [
    "Ada B-PER\nLovelace I-PER\nin O\nRome B-LOC\n",
    "<script> O\n*Bo* B-PER\nat O\nAcme B-ORG\n",
    "Cy B-PER\nran O\n",
]
GOLD = [[[0, 2, "PER"], [3, 4, "LOC"]], [[1, 2, "PER"], [3, 4, "ORG"]], [[0, 1, "PER"]]]
PRED = {
    1: [[[0, 2, "PER"]], [[1, 2, "PER"]], [[0, 1, "PER"]]],
    2: [[[0, 1, "LOC"]], [[1, 2, "PER"]], []],  # Ada Lovelace as LOC, Cy as O
    3: [[[0, 2, "PER"], [3, 4, "LOC"]], [[1, 4, "ORG"]], []],  # Ada Lovelace is back, Bo is lost
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        (folder / f"{part}.txt").write_text("\n".join(TEXT), encoding="utf-8")
    return folder


def write(folder: Path, corpus: Path, **more: Any) -> Path:
    record: dict[str, Any] = {
        "inputs": {"dataset": str(corpus), "data": None, "tasks": "PER;LOC;ORG"},
        "fingerprints": {"data": load_corpus(str(corpus), tasks="PER;LOC;ORG").fingerprint, "split": "s0"},
    }
    known = ("PER", "LOC", "ORG")
    counts = {k: {type_: [1, 1, 1] for type_ in known[:k]} for k in PRED}
    home = write_run(folder, counts=counts, tasks=TASKS, **record | more)
    for step, pred in PRED.items():
        rows = [
            {"id": i, "gold": [m for m in gold if m[2] in known[:step]], "pred": [[*m, 0.5] for m in found]}
            for i, (gold, found) in enumerate(zip(GOLD, pred, strict=True))
        ]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (home / f"step-{step}" / "predictions.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


def test_what_was_right_and_went_wrong_is_listed_with_its_step(tmp_path: Path, corpus: Path) -> None:
    results = load_results(write(tmp_path / "r", corpus))
    summary = write_examples(quote_examples(results), tmp_path / "out")
    text = (tmp_path / "out" / FILE).read_text(encoding="utf-8")
    assert "SpanKL: 2 mentions lost by the end, 3 examples" in summary
    entries = [part for part in text.split("\n\n") if part.startswith("- Sentence")]
    # What stays lost comes first, by step.
    assert [entry.splitlines()[0].strip() for entry in entries] == [
        r"- Sentence 2, lost in **step 2** (t\*o)",
        "- Sentence 1, lost in **step 3** (three)",
        r"- Sentence 0, lost in **step 2** (t\*o); right again after step 3",
    ]
    assert [line.strip() for line in entries[2].splitlines()[1:]] == [
        "text: **[Ada Lovelace]** in Rome",
        "gold: “Ada Lovelace” PER",
        "after step 1: “Ada Lovelace” PER",
        "after step 2: “Ada” LOC",
    ]
    assert entries[0].endswith("after step 2: nothing (O)")
    assert "&lt;script&gt; **[\\*Bo\\*]** at Acme" in entries[1]
    assert "### PER: 2 lost by the end" in text
    assert "<script>" not in text


def test_at_most_so_many_of_a_type_and_the_same_bytes(tmp_path: Path, corpus: Path) -> None:
    results = load_results(write(tmp_path / "r", corpus))
    for name in ("one", "two"):
        write_examples(quote_examples(results, per_type=1), tmp_path / name)
    first, second = ((tmp_path / name / FILE).read_bytes() for name in ("one", "two"))
    assert first.count(b"- Sentence") == 1
    assert second == first


def test_a_folder_of_unknown_licence_is_marked(tmp_path: Path, corpus: Path) -> None:
    write_examples(quote_examples(load_results(write(tmp_path / "r", corpus))), tmp_path / "out")
    text = (tmp_path / "out" / FILE).read_text(encoding="utf-8")
    assert "**Do not share this file** before you know the licence" in text


def test_licences_that_forbid_sharing_are_marked(corpus: Path) -> None:
    cards = list_cards()
    closed = {name for name, card in cards.items() if FORBIDS_SHARING in card.licence}
    assert {"ontonotes", "conll2003", "i2b2-2014"} <= closed
    assert not closed & {"fewnerd", "wnut17", "synthetic"}
    plain = load_corpus(str(corpus))
    for name in ("ontonotes", "fewnerd"):
        ((warning, text),) = licences([replace(plain, card=cards[name])])
        assert (warning == "Do not share this file.") == (name in closed)
        assert cards[name].licence.split(" ")[0] in text


def test_the_text_may_lie_elsewhere_now(tmp_path: Path, corpus: Path) -> None:
    card = tmp_path / "toy.toml"
    card.write_text('schema = 1\nname = "toy"\ntitle = "Toy"\n[tasks]\none = ["PER"]\ntwo = ["LOC"]\nthree = ["ORG"]\n')
    loaded = load_corpus(str(card), corpus)
    inputs = {"dataset": str(card), "data": str(corpus), "tasks": None}
    folder = write(tmp_path / "r", corpus, inputs=inputs, fingerprints={"data": loaded.fingerprint, "split": "s0"})
    moved = Path(shutil.move(corpus, tmp_path / "moved"))
    with pytest.raises(UserError, match="say where it lies with --data PATH"):
        quote_examples(load_results(folder))
    assert quote_examples(load_results(folder), moved).runs[0].quotes


def test_other_text_is_refused(tmp_path: Path, corpus: Path) -> None:
    folder = write(tmp_path / "r", corpus)
    with (corpus / "test.txt").open("a", encoding="utf-8") as file:
        file.write("\nDee B-PER\n")
    with pytest.raises(UserError, match=r"is not the text that .* was learned from"):
        quote_examples(load_results(folder))


@pytest.mark.slow
def test_the_command_quotes_them_in_the_page_and_beside_it(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    folder = write(tmp_path / "r", corpus)
    assert main(["report", str(folder), "--format", "png"]) == 0
    assert "Lovelace" not in (folder / "report.html").read_text(encoding="utf-8")
    assert not (folder / FILE).exists()
    assert not (folder / "texts").exists()
    assert main(["report", str(folder), "--format", "png", "--examples", "--examples-per-type", "2"]) == 0
    assert "SpanKL: 2 mentions lost by the end, 2 examples" in capsys.readouterr().out
    assert (folder / FILE).is_file()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<q> <mark>Cy</mark> ran</q>" in page
    assert "Do not share this file" in page[: page.index('class="answer"')]
    assert "<script>" not in page.replace("<script>\n", "")
    assert main(["report", str(folder), "--examples", "--examples-per-type", "0"]) == 2
    shutil.rmtree(corpus)
    assert main(["report", str(folder), "--examples"]) == 2
    assert "--examples needs the text of toy" in capsys.readouterr().err


def test_without_a_second_step_there_is_nothing_to_lose(tmp_path: Path) -> None:
    write_run(tmp_path)
    with pytest.raises(UserError, match="nothing was forgotten"):
        quote_examples(load_results(tmp_path))


def test_texts_put_words_beside_gold_and_the_predictions_of_each_step(tmp_path: Path, corpus: Path) -> None:
    results = load_results(write(tmp_path / "r", corpus))
    told = write_texts(results, tmp_path / "out")
    assert "1 files" in told
    assert "Do not share this file before you know the licence" in told
    (file,) = (tmp_path / "out" / "texts").glob("*.jsonl.gz")
    assert file.name == f"{results.runs[0].run_id}.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert rows[0] == {
        "id": 0,
        "words": ["Ada", "Lovelace", "in", "Rome"],
        "gold": [[0, 2, "PER", "Ada Lovelace"], [3, 4, "LOC", "Rome"]],
        "after": {
            "1": [[0, 2, "PER", "Ada Lovelace"]],
            "2": [[0, 1, "LOC", "Ada"]],
            "3": [[0, 2, "PER", "Ada Lovelace"], [3, 4, "LOC", "Rome"]],
        },
    }
    assert [row["id"] for row in rows] == [0, 1, 2]
    assert "**Do not share this file**" in (tmp_path / "out" / "texts" / "README.md").read_text()
    first = file.read_bytes()
    write_texts(results, tmp_path / "out")
    assert file.read_bytes() == first


def test_texts_of_another_copy_are_refused_with_the_flag_that_asked(tmp_path: Path, corpus: Path) -> None:
    results = load_results(write(tmp_path / "r", corpus))
    train = corpus / "train.txt"
    train.write_text(train.read_text(encoding="utf-8").replace("Ada", "Eva"), encoding="utf-8")
    with pytest.raises(UserError, match=r"^--texts: .* is not the text that .* was learned from"):
        write_texts(results, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_writes_texts_beside_a_report_without_them(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "r", corpus)
    assert main(["report", str(folder), "--format", "png", "--texts"]) == 0
    assert "predictions with their words: 1 files" in capsys.readouterr().out
    assert [*(folder / "texts").glob("*.jsonl.gz")]
    assert not [file for file in folder.rglob("*") if file.is_file() and b"Lovelace" in file.read_bytes()]


@pytest.mark.slow
def test_texts_of_a_real_corpus_carry_its_licence(tmp_path: Path, real_data: Path) -> None:
    """WNUT-17, with predictions that are its own gold mentions."""
    words = ["--dataset", "wnut17", "--data", str(real_data / "wnut17")]
    assert main(["data", "export", *words[1:], "--out", str(tmp_path / "sentences")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "sentences" / "test.jsonl").read_text().splitlines()]
    found = [json.dumps({"id": row["id"], "pred": row["mentions"]}) for row in rows]
    (tmp_path / "gold.jsonl").write_text("\n".join(found))
    out = tmp_path / "out"
    assert (
        main(["import", str(tmp_path / "gold.jsonl"), "--method", "Gold", *words, "--out", str(out), "--no-report"])
        == 0
    )
    moved = tmp_path / "moved"
    moved.symlink_to(real_data / "wnut17")
    told = write_texts(load_results(out), tmp_path / "report", moved)
    assert list_cards()["wnut17"].licence in told
    (file,) = (tmp_path / "report" / "texts").glob("*.jsonl.gz")
    texts = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert [row["words"] for row in texts] == [row["words"] for row in rows]
    (step,) = texts[0]["after"]
    assert all(row["after"][step] == row["gold"] for row in texts)
    mentions = [mention for row in texts for mention in row["gold"]]
    assert len(mentions) > 500
    assert all(text == " ".join(row["words"][a:b]) for row in texts for a, b, _, text in row["gold"])
