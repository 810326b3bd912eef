"""`bench data export` and `bench import`: sentences for other code, and its predictions beside the suite's own runs."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.analysis.comparison.compare import comparisons
from cl_ner_bench.analysis.comparison.notes import notes_of
from cl_ner_bench.analysis.comparison.verdict import verdict
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.figures.families import families
from cl_ner_bench.analysis.tables.scores import main_table
from cl_ner_bench.cli.main import main
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.predictions_file import ScoredPart, read_predictions
from cl_ner_bench.running.steps import score
from cl_ner_bench.scenarios.split import make_split
from cl_ner_bench.testing.results import write_run

TYPES = ("DATE", "LOC", "PER")  # each learned in a step of its own
Edit = Callable[[list[dict[str, Any]]], object]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 sentences a part, the last three types of each told by the word."""
    rows = []
    for i in range(12):
        words = [("anna", "boris")[i % 2], "went", "to", ("paris", "oslo", "lima")[i % 3], "in", "1990"][: 6 - i % 2]
        mentions = [[0, 1, "PER"], [3, 4, "LOC"], [5, 6, "DATE"]][: 3 - i % 2]
        rows.append(json.dumps({"words": words, "mentions": mentions}))
    folder = tmp_path_factory.mktemp("data") / "corpus"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        (folder / f"{part}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def sentences(corpus: Path) -> Path:
    """Return the folder that `bench data export` wrote of the corpus."""
    folder = corpus.with_name("sentences")
    assert main(["data", "export", str(corpus), "--out", str(folder)]) == 0
    return folder


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def predicted(sentences: Path, step: int, edit: Edit = lambda rows: None) -> Path:
    """Write predictions after a step: the gold mentions of the types learned, but none in sentence 0."""
    known = TYPES[:step]
    rows = [
        {"id": row["id"], "pred": [m for m in row["mentions"] if m[2] in known and row["id"]]}
        for row in lines(sentences / "test.jsonl")
    ]
    edit(rows)
    file = sentences / f"after-{step}.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def columns(sentences: Path, step: int) -> Path:
    """Write the predictions of ``predicted`` as CoNLL columns."""
    found = {row["id"]: row["pred"] for row in lines(predicted(sentences, step))}
    blocks = []
    for row in lines(sentences / "test.jsonl"):
        tags = {start: f"B-{type_}" for start, _, type_ in found[row["id"]]}
        words = (f"{word}\t_\t{tags.get(i, 'O')}\n" for i, word in enumerate(row["words"]))
        blocks.append(f"# id = {row['id']}\n{''.join(words)}")
    file = sentences / f"after-{step}.conll"
    file.write_text("\n".join(blocks))
    return file


def do(corpus: Path, out: Path, files: Sequence[Path], *words: str, method: str = "LLM") -> int:
    given = ["--method", method, "--dataset", str(corpus), "--out", str(out), "--no-report", "-q"]
    return main(["import", *map(str, files), *given, *words])


def record(out: Path) -> dict[str, Any]:
    (file,) = out.glob("runs/*/run.json")
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


def ours(out: Path, corpus: Path, method: str = "spankl", **changes: Any) -> None:
    """Write a run as if the suite had learned it on this corpus."""
    loaded = load_corpus(str(corpus))
    split = make_split(loaded)
    tasks = [{"name": t.name, "types": list(t.types), "learned_at": k} for k, t in enumerate(split.tasks, 1)]
    known: dict[str, Any] = {
        "dataset": loaded.name,
        "fingerprints": {"data": loaded.fingerprint, "split": split.hash, "encoder": "e0"},
        "inputs": {"dataset": str(corpus), "data": None, "tasks": None},
    }
    counts, rows = {}, {}
    for k in (1, 2, 3):
        gold = split.test_part(loaded, k)
        pred = [s.mentions if s.id < 6 else () for s in gold]
        counts[k] = score(split, loaded, k, gold, pred)["all"]["test"]
        found = zip(gold, pred, strict=True)
        rows[k] = [{"id": s.id, "gold": s.mentions, "pred": [[*m, 0.5] for m in ms]} for s, ms in found]
    home = write_run(out, method, counts, tasks, **(known | changes))
    for k, of_step in rows.items():
        text = "".join(f"{json.dumps(row)}\n" for row in of_step)
        (home / f"step-{k}" / "predictions.jsonl.gz").write_bytes(gzip.compress(text.encode()))


def test_an_export_holds_what_methods_see_in_each_step(sentences: Path, corpus: Path) -> None:
    names = {str(path.relative_to(sentences)) for path in sentences.rglob("*") if path.is_file()}
    steps = {f"step-{k}/{part}.jsonl" for k in (1, 2, 3) for part in ("train", "dev")}
    assert names == {"split.json", "test.jsonl", *steps}
    split = json.loads((sentences / "split.json").read_text())
    for k, task in enumerate(split["tasks"], 1):
        for part in ("train", "dev"):
            rows = lines(sentences / f"step-{k}" / f"{part}.jsonl")
            assert [row["id"] for row in rows] == task[part]
            assert {m[2] for row in rows for m in row["mentions"]} <= {*task["types"]}, "no other labels"
    test = lines(sentences / "test.jsonl")
    assert [(row["words"], row["mentions"]) for row in test] == [
        (row["words"], row["mentions"]) for row in lines(corpus / "test.jsonl")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("form", [predicted, columns])
def test_predictions_become_a_run_with_its_origin_and_nothing_made_up(
    corpus: Path, sentences: Path, tmp_path: Path, form: Callable[[Path, int], Path]
) -> None:
    out, files = tmp_path / "out", [form(sentences, k) for k in (1, 2, 3)]
    assert do(corpus, out, files, "--encoder", "gpt", "--about", "5 examples") == 0
    run = record(out)
    assert (run["status"], run["steps"], run["label"], run["encoder"]) == ("done", [1, 2, 3], "LLM (imported)", "gpt")
    for k, file in enumerate(files, 1):
        known = run["imported"][str(k)]
        assert (known["name"], known["sha256"]) == (file.name, hashlib.sha256(file.read_bytes()).hexdigest())
    assert run["settings"]["about"] == "5 examples"
    assert run["learned"] == []
    assert run["times"] == run["machine"] == {}
    results = load_results(out)
    final = results.counts[(results.counts["view"] == "all") & (results.counts["step"] == 3)]
    by_type = {row.type: (row.tp, row.fp, row.fn) for row in final.itertuples()}
    assert by_type == {"DATE": (5, 0, 1), "LOC": (11, 0, 1), "PER": (11, 0, 1)}, "sentence 0 is missed"
    assert results.predictions(run["run_id"], 3)["score"].isna().all()
    assert main(["verify", str(out)]) == 0


def test_stored_predictions_of_a_run_give_its_counts_again(corpus: Path, tmp_path: Path) -> None:
    ours(tmp_path / "out", corpus)
    (run,) = (tmp_path / "out" / "runs").iterdir()
    files = [run / f"step-{k}" / "predictions.jsonl.gz" for k in (1, 2, 3)]
    assert do(corpus, tmp_path / "again", files) == 0
    before, after = (load_results(tmp_path / out).counts for out in ("out", "again"))
    columns = ["step", "view", "type", "tp", "fp", "fn"]
    assert before[columns].equals(after[columns])
    scores = load_results(tmp_path / "again").predictions(record(tmp_path / "again")["run_id"], 3)["score"].dropna()
    assert {*scores} == {0.5}


def test_words_may_hold_other_ends_of_lines_and_rows_may_end_in_crlf(
    make_corpus: Callable[..., Corpus], tmp_path: Path
) -> None:
    made = make_corpus(["A", "A"], {"a": ("A",)})
    odd = Sentence(0, ("a\u2028b", "c\x85"), ())
    made = replace(made, parts={**made.parts, "test": (odd, made.parts["test"][1])})
    test = ScoredPart.of(make_split(made), made, 1)
    rows = [{"id": s.id, "words": s.words, "pred": [[0, 1, "A", 0.5]]} for s in test.scored]
    file = tmp_path / "rows"
    file.write_text("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), newline="")
    assert read_predictions(file, test) == [[[0, 1, "A", 0.5]]] * 2
    blocks = ["\r\n".join([f"# id = {s.id}", *(f"{word}\tB-A" for word in s.words)]) for s in test.scored]
    file.write_text("\r\n\r\n".join(blocks), newline="")
    assert read_predictions(file, test)[0] == [[0, 1, "A", None], [1, 2, "A", None]]


def test_sentences_of_domains_that_are_learned_later_are_left_out(
    make_corpus: Callable[..., Corpus], tmp_path: Path
) -> None:
    made = make_corpus(["A", "A", "B", "B"], {"a": ("A",), "b": ("B",)})
    parts = dict.fromkeys(("train", "dev", "test"), range(2)), dict.fromkeys(("train", "dev", "test"), range(2, 4))
    split = make_split(replace(made, domains=dict(zip("xy", parts, strict=True))), "domains")
    test = ScoredPart.of(split, made, 1)
    assert ([s.id for s in test.scored], test.others) == ([0, 1], {2, 3})
    file = tmp_path / "all.jsonl"
    file.write_text("".join(f'{{"id": {i}, "pred": [[0, 1, "A"]]}}\n' for i in range(4)))
    assert read_predictions(file, test) == [[[0, 1, "A", None]]] * 2
    file.write_text('{"id": 4, "pred": []}')
    with pytest.raises(UserError, match="has no sentence 4"):
        read_predictions(file, test)


def test_one_file_is_of_the_last_step_and_others_may_follow(corpus: Path, sentences: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert do(corpus, out, [predicted(sentences, 1)], "--step", "1") == 0
    assert (record(out)["status"], record(out)["steps"]) == ("waiting", [1])
    assert "step 3, the last one, is not imported yet" in record(out)["reason"]
    assert main(["status", str(out)]) == 0
    assert do(corpus, out, [predicted(sentences, 3)]) == 0
    assert (record(out)["status"], record(out)["steps"]) == ("done", [1, 3])
    summary = load_results(out).summary
    assert summary["forgetting_mean"].isna().all(), "a step is missing"
    assert do(corpus, out, [predicted(sentences, 2)], "--step", "2") == 0
    assert record(out)["steps"] == [1, 2, 3]
    assert load_results(out).summary["forgetting_mean"].notna().all()


WRONG: dict[str, tuple[Edit, str]] = {
    "unknown id": (lambda rows: rows[4].update(id=99), ":5: the test part in use has no sentence 99"),
    "missing": (lambda rows: rows.pop(4), ": 1 of 12 test sentences are missing (4)"),
    "twice": (lambda rows: rows[4].update(id=3), ":5: sentence 3 stands in line 4 already"),
    "unknown type": (
        lambda rows: rows[1].update(pred=[[3, 4, "NATION"]]),
        ":2: unknown type 'NATION'; known are DATE, LOC, PER",
    ),
    "future type": (
        lambda rows: rows[1]["pred"].append([0, 1, "PER"]),
        ":2: type PER is learned in step 3, and these are predictions after step 2",
    ),
    "span": (
        lambda rows: rows[1].update(pred=[[3, 9, "LOC"]]),
        ":2: [3, 9, 'LOC'] is no span of sentence 1, which has 5",
    ),
    "no mention": (lambda rows: rows[1].update(pred=[["paris", "LOC"]]), ":2: expected mentions [start, end, type]"),
    "score": (lambda rows: rows[1].update(pred=[[3, 4, "LOC", "high"]]), ":2: expected mentions [start, end, type]"),
    "no pred": (lambda rows: rows[1].pop("pred"), ":2: key 'pred'"),
    "other gold": (lambda rows: rows[1].update(gold=[[0, 2, "LOC"]]), ":2: its 'gold' is not that of sentence 1 after"),
    "no gold": (
        lambda rows: rows[1].update(gold=[["a"], [{}, 0, "LOC"]]),
        ":2: its 'gold' is not that of sentence 1 after",
    ),
    "other words": (lambda rows: rows[1].update(words=["x"] * 5), ":2: word 0 is 'x', in sentence 1 it is 'boris'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_one_message_with_its_line(
    corpus: Path, sentences: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, said = WRONG[kind]
    file = predicted(sentences, 2, edit)
    assert do(corpus, tmp_path / "out", [file], "--step", "2") == 2
    assert f"error: {file}{said}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# id = 1\n", "", ":9: a sentence without its id"),
        ("boris\t_\tO", "boris", ":10: expected a word and its tag"),
        ("boris\t_\tO", "boris\t_\tLOC", ":10: unknown tag 'LOC'"),
        ("boris\t_\tO", "carla\t_\tO", ":9: word 0 is 'carla', in sentence 1 it is 'boris'"),
        ("boris\t_\tO\n", "", ":9: 4 words, sentence 1 has 5"),
    ],
)
def test_columns_that_do_not_fit_are_told_with_their_line(
    corpus: Path, sentences: Path, tmp_path: Path, old: str, new: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = columns(sentences, 2)
    file.write_text(file.read_text().replace(old, new, 1))
    assert do(corpus, tmp_path / "out", [file], "--step", "2") == 2
    assert f"error: {file}{said}" in capsys.readouterr().err


def test_wrong_use_is_explained(
    corpus: Path, sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "out", [predicted(sentences, k) for k in (1, 2)]
    for words, said in (
        ((), "--step: 2 files for 3 steps"),
        (("--step", "1"), "--step 1: expected one step for each of the 2 files"),
        (("--step", "1,9"), "--step 9: the scenario has the steps 1 to 3"),
        (("--step", "x"), "--step 'x': expected the number of each file's step"),
        (("--order", "0,1"), "--order: the predictions are of one run"),
        (("--step", "1,2", "--split", str(sentences / "test.jsonl")), "--split"),
    ):
        assert do(corpus, out, files, *words) == 2
        assert said in capsys.readouterr().err
    three = [predicted(sentences, k) for k in (1, 3, 2)]
    assert do(corpus, out, three) == 2
    assert "--step: the files are not in the order of the numbers in their names" in capsys.readouterr().err
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert do(corpus, out, [tmp_path / "binary"]) == 2
    assert "no text in UTF-8" in capsys.readouterr().err


def test_another_copy_of_the_corpus_is_refused(
    corpus: Path, sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Path(shutil.copytree(corpus, tmp_path / "corpus"))
    ours(tmp_path / "out", corpus)
    files, split = [predicted(sentences, 3)], str(sentences / "split.json")
    train = corpus / "train.jsonl"
    train.write_text(train.read_text().replace("anna", "olga"))
    assert do(corpus, tmp_path / "new", files, "--split", split) == 2
    assert "it was made from other data (fingerprint" in capsys.readouterr().err
    assert do(corpus, tmp_path / "out", files) == 2
    assert "its run spankl-corpus-0-0-" in (said := capsys.readouterr().err)
    assert "has another data (fingerprint" in said


@pytest.mark.slow
def test_other_predictions_of_a_step_replace_it_on_request_only(
    corpus: Path, sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert do(corpus, out, [predicted(sentences, 3)]) == 0
    before = record(out)
    assert do(corpus, out, [predicted(sentences, 3)]) == 0, "the same again"
    assert record(out) == before
    better = predicted(sentences, 3, lambda rows: rows[0].update(pred=[[0, 1, "PER"]]))
    assert do(corpus, out, [better]) == 2
    assert "already holds step 3 of LLM, with other predictions (after-3.jsonl, imported on" in capsys.readouterr().err
    assert do(corpus, out, [better], "--replace") == 0
    assert record(out)["step_keys"] != before["step_keys"]
    assert main(["verify", str(out)]) == 0


def test_one_name_is_one_run_whoever_made_it(
    corpus: Path, sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    ours(out, corpus)
    files, words = [predicted(sentences, 3)], ("--encoder", "minilm")
    assert do(corpus, out, files, *words, "--replace", method="spankl") == 2
    assert "holds runs of this suite's spankl: " in capsys.readouterr().err
    assert do(corpus, out, files, "--encoder", "gpt", method="SpanKL") == 2, "a name in other letters, another encoder"
    assert "pass another name, such as --method 'SpanKL (theirs)'" in capsys.readouterr().err.replace("\n", " ")
    assert do(corpus, other, files, *words, method="spankl") == 0
    with pytest.raises(UserError, match="spankl: results that were imported under this name"):
        prepare({"methods": "spankl", "bounds": "none", "dataset": str(corpus), "out": str(other), "epochs": 1})
    assert do(corpus, other, files, *words, "--tasks", "DATE;PER;LOC", method="spankl") == 2
    assert "holds this import of other data or tasks (method spankl, " in capsys.readouterr().err
    assert do(corpus, other, files, *words, "--tasks", "DATE;PER;LOC", "--replace", method="spankl") == 0
    assert [task["name"] for task in record(other)["tasks"]] == ["DATE", "PER", "LOC"]
    assert len([*other.glob("replaced/*")]) == 1


@pytest.mark.slow
def test_a_damaged_step_is_repaired_by_the_same_import(
    corpus: Path, sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "out", [predicted(sentences, 3)]
    assert do(corpus, out, files) == 0
    (stored,) = out.glob("runs/*/step-3/predictions.jsonl.gz")
    whole = stored.read_bytes()
    stored.write_bytes(gzip.compress(b"{}"))
    assert main(["verify", str(out)]) == 1
    assert "`bench import` of the same files again repairs it" in capsys.readouterr().out
    assert do(corpus, out, files) == 0
    assert stored.read_bytes() == whole
    assert main(["verify", str(out)]) == 0


def test_imported_results_stand_beside_ours_marked_and_untested(corpus: Path, sentences: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for method in ("spankl", "frozen-span"):
        for seed in (0, 1, 2):
            ours(out, corpus, method, seed=seed)
    (before,) = comparisons(load_results(out))
    assert do(corpus, out, [predicted(sentences, k) for k in (1, 2, 3)], "--encoder", "gpt") == 0
    results = load_results(out)
    (c,) = comparisons(results)
    assert c.encoder == "minilm"
    assert c.pairs == before.pairs == ((0, 0), (0, 1), (0, 2)), "one imported run takes no pair away from the others"
    sections = {title: [row[0] for row in rows] for title, rows in main_table(c, "all").sections}
    assert sections["Imported results"] == ["LLM (imported)"]
    (note,) = [note for note in notes_of(c) if "LLM" in note]
    assert note.startswith("LLM (imported): not learned by this suite, in no test of differences")
    assert "from after-1.jsonl (" in note
    assert "encoder gpt" in note
    assert "From elsewhere, in no test: LLM (imported) 94.1." in verdict(c, results)[1:]
    assert [family.title for family in families(c)] == ["span methods", "imported results"]
    assert len([line for line in verdict(c, results) if "LLM" in line]) == 1
    assert not [line for line in notes_of(c) if "learning was checked" in line and "LLM" in line]


def test_only_imported_results_are_a_comparison_too(corpus: Path, sentences: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for method, encoder in (("A", "x"), ("B", "y")):
        assert do(corpus, out, [predicted(sentences, 3)], "--encoder", encoder, method=method) == 0
    (c,) = comparisons(load_results(out))
    assert [row.label for row in c.rows] == ["A (imported)", "B (imported)"]


def test_equal_predictions_of_two_seeds_are_one_model(corpus: Path, sentences: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for seed in ("0", "1"):
        assert do(corpus, out, [predicted(sentences, 3)], "--seed", seed) == 0
    assert {*load_results(out).summary["n_runs"]} == {1}
    assert {*load_results(out).summary["n_seeds"]} == {2}


def test_folders_join_and_a_grid_leaves_imported_runs_alone(corpus: Path, sentences: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    ours(one, corpus)
    assert do(corpus, two, [predicted(sentences, 3)], "--encoder", "minilm") == 0
    (c,) = comparisons(load_results(one, two))
    assert [row.label for row in c.rows] == ["SpanKL", "LLM (imported)"]
    prepared = prepare({"methods": "spankl", "bounds": "none", "dataset": str(corpus), "out": str(two), "epochs": 1})
    assert [run.record.method for run in prepared.runs] == ["spankl"]
    assert record(two)["status"] == "done"


@pytest.mark.slow
def test_the_command_writes_the_report_and_prints_the_row(
    corpus: Path, sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    ours(out, corpus)
    words = [*map(str, (predicted(sentences, k) for k in (1, 2, 3))), "--method", "LLM", "--dataset", str(corpus)]
    assert main(["import", *words, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "LLM (imported)" in printed.out
    assert "steps 1, 2, 3 of 3" in printed.err
    for file in ("report.html", "summary.csv", "tables/main-all-corpus-split-minilm.tex"):
        assert "LLM (imported)" in (out / file).read_text()
    for file in out.glob("figures/steps-all-*.csv"):
        assert "LLM (imported)" in file.read_text()
