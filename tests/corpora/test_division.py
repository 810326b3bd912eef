"""`--parts`: one file, or a folder without all parts, divided into train, dev and test."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from cl_ner_bench.cli.main import main
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.doctor import check
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import PARTS, Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.running.grid_data import load, make_splits
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.scenarios.task import TaskSplit
from cl_ner_bench.storage.differences import differences
from cl_ner_bench.storage.folder import ResultsFolder

RULE = Division((80, 10, 10), 1)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))


def rows(numbers: Iterable[int]) -> str:
    return "".join(f"Anna\tB-PER\nsaw\tO\n{i}\tO\nin\tO\nRome\tB-LOC\n\n" for i in numbers)


def numbers(corpus: Corpus) -> dict[str, list[int]]:
    """Return the numbers of the sentences of each part."""
    return {part: [int(s.words[2]) for s in corpus.parts[part]] for part in PARTS}


def sizes(corpus: Corpus) -> list[int]:
    return [len(corpus.parts[part]) for part in PARTS]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "names.conll"
    path.write_text(rows(range(60)))
    return path


def test_a_file_is_divided_by_a_seeded_rule(file: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(file), parts=RULE)
    assert corpus.name == "names"
    assert sizes(corpus) == [48, 6, 6]
    found = numbers(corpus)
    assert sorted(i for part in found.values() for i in part) == [*range(60)]
    assert all(ids == sorted(ids) for ids in found.values())  # file order
    assert [s.id for s in corpus.parts["dev"]] == [*range(6)]
    again = load_corpus(str(file), parts=RULE)  # from the cache
    assert again == corpus
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/x.txt").write_text(file.read_text())
    (tmp_path / "folder/LICENCE").write_text("no data")
    assert load_corpus(str(tmp_path / "folder"), parts=RULE).fingerprint == corpus.fingerprint
    others = [load_corpus(str(file), parts=d) for d in (Division((80, 10, 10), 2), Division((60, 20, 20), 1))]
    assert sizes(others[1]) == [36, 12, 12]
    assert len({corpus.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_documents_stay_whole(tmp_path: Path) -> None:
    text, home = "", {}
    for document in range(30):
        own = range(10 * document, 10 * document + 1 + document % 5)
        home |= dict.fromkeys(own, document)
        text += f"-DOCSTART- O\n\n{rows(own)}"
    (tmp_path / "a.txt").write_text(text)
    corpus = load_corpus(str(tmp_path / "a.txt"), parts=RULE)
    parts = {part: {home[i] for i in found} for part, found in numbers(corpus).items()}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 30
    assert abs(len(corpus.parts["train"]) - 0.8 * len(home)) <= 5
    assert "documents kept whole" in corpus.remarks[0]
    found = [home[i] for i in numbers(corpus)["test"]]
    assert corpus.documents == tuple(i for i, document in enumerate(found) if document not in found[:i])


def test_objects_name_their_documents(tmp_path: Path) -> None:
    rows = [{"doc_id": i % 15, "tokens": ["Anna", "saw", str(i)], "entities": [[0, 1, "PER"]]} for i in range(45)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = numbers(load_corpus(str(tmp_path / "a.jsonl"), parts=RULE))
    assert sum(len({i % 15 for i in part}) for part in found.values()) == 15


@pytest.mark.parametrize(("sentences", "whole"), [(3, True), (1, False)])
def test_the_names_of_documents_may_stand_in_a_column(tmp_path: Path, sentences: int, whole: bool) -> None:
    rows = (("Anna", "B-PER"), ("saw", "O"), ("{}", "O"))
    text = "".join(
        "".join(f"doc_{i // sentences} {k} {word.format(i)} {tag}\n" for k, (word, tag) in enumerate(rows)) + "\n"
        for i in range(12 * sentences)
    )
    (tmp_path / "a.conll").write_text(text)
    corpus = load_corpus(str(tmp_path / "a.conll"), parts=RULE)
    found = numbers(corpus)
    assert sum(len({i // sentences for i in part}) for part in found.values()) == 12
    assert ("documents kept whole" in corpus.remarks[0]) == whole


def test_the_sentences_of_a_document_need_not_stand_together(tmp_path: Path) -> None:
    names = [i % 20 for i in range(100)]
    text = "".join(f"doc{n}\t1\tAnna\tB-PER\ndoc{n}\t2\tsaw\tO\ndoc{n}\t3\t{i}\tO\n\n" for i, n in enumerate(names))
    (tmp_path / "a.conll").write_text(text)
    corpus = load_corpus(str(tmp_path / "a.conll"), parts=RULE)
    assert sum(len({names[i] for i in part}) for part in numbers(corpus).values()) == 20
    assert "documents kept whole" in corpus.remarks[0]
    assert corpus.documents == ()  # they do not follow one another


def test_a_name_of_the_whole_file_is_no_document(tmp_path: Path) -> None:
    text = "".join(
        f"-DOCSTART- O\n\nnews 1 Anna B-PER\nnews 2 {i} O\n\nnews 1 x O\nnews 2 {i} O\n\n" for i in range(20)
    )
    (tmp_path / "a.conll").write_text(text)
    corpus = load_corpus(str(tmp_path / "a.conll"), parts=RULE)
    assert "documents kept whole" in corpus.remarks[0]
    assert [len({s.words[1] for s in corpus.parts[part]}) for part in PARTS] == [16, 2, 2]


def test_numbers_of_sentences_name_no_documents(tmp_path: Path) -> None:
    text = "".join(f"{i % 12 + 1} 1 Anna B-PER\n{i % 12 + 1} 2 saw O\n{i % 12 + 1} 3 {i} O\n\n" for i in range(60))
    (tmp_path / "a.conll").write_text(text)
    assert "sentence by sentence" in load_corpus(str(tmp_path / "a.conll"), parts=RULE).remarks[0]


def test_files_without_a_part_are_documents(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.txt").write_text(rows(range(10 * i, 10 * i + 3)))
    found = numbers(load_corpus(str(tmp_path), parts=RULE))
    assert sum(len({i // 10 for i in part}) for part in found.values()) == 12


def test_too_few_documents_are_divided_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"-DOCSTART- O\n\n{rows(range(10 * i, 10 * i + 10))}" for i in range(9)))
    corpus = load_corpus(str(tmp_path / "a.txt"), parts=RULE)
    assert sizes(corpus) == [72, 9, 9]
    assert corpus.documents == ()
    assert "sentence by sentence (a share of 10 % of whole documents needs 10, here are 9)" in corpus.remarks[0]


@pytest.mark.parametrize(("missing", "expected"), [("dev", [53, 7, 9]), ("test", [53, 9, 7])])
def test_a_missing_part_is_taken_from_train(tmp_path: Path, missing: str, expected: list[int]) -> None:
    (tmp_path / "train.txt").write_text(rows(range(60)))
    (tmp_path / f"{'dev' if missing == 'test' else 'test'}.txt").write_text(rows(range(100, 109)))
    corpus = load_corpus(str(tmp_path), parts=RULE)
    assert sizes(corpus) == expected
    kept = "dev" if missing == "test" else "test"
    assert numbers(corpus)[kept] == [*range(100, 109)]


def test_copies_across_parts_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(rows([*range(30)] * 2) + "Yes\tO\n\n" * 30)
    corpus = load_corpus(str(tmp_path / "a.txt"), parts=RULE)
    earlier: Counter[tuple[str, ...]] = Counter()
    copies = 0
    for part in PARTS:
        words = [s.words for s in corpus.parts[part] if len(s.words) >= 5]
        copies += sum(w in earlier for w in words)
        earlier.update(words)
    assert copies
    assert f"also stand in an earlier part: {copies};" in corpus.remarks[1]


@pytest.mark.parametrize("more", [[], ["--parts", "80,10,10"]])
def test_of_an_empty_file_it_is_said_that_it_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    (tmp_path / "x.conll").write_text("")
    assert main(["data", "check", str(tmp_path / "x.conll"), *more]) == 1
    said = capsys.readouterr().out
    assert "x.conll: the file is empty. Give sentences" in said
    assert more or "--parts" not in said


@pytest.mark.parametrize("command", ["show", "check"])
def test_without_it_one_message_proposes_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/x.conll").write_text(file.read_text())
    for place, what in ((file, "one file, without train, dev and test"), (tmp_path / "one", "one file, x.conll, and")):
        assert main(["data", command, str(place)]) == (2 if command == "show" else 1)
        said = "".join(capsys.readouterr())
        assert said.count("--parts 80,10,10") == 1
        assert f"{place}: {what}" in said


def test_a_file_that_is_not_there_is_answered_by_the_nearest(file: Path) -> None:
    with pytest.raises(UserError, match=r"name.conll': no such file, folder or card\..*names.conll"):
        load_corpus(str(file.with_name("name.conll")), parts=RULE)


def test_a_missing_part_proposes_it_too(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(rows(range(9)))
    with pytest.raises(UserError, match=r"no dev file among train.txt\. .*take it from train by --parts 80,10,10\.$"):
        load_corpus(str(tmp_path))


def test_what_cannot_be_divided(tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / f"{part}.txt").write_text(rows(range(9)))
    with pytest.raises(UserError, match="has train, dev and test files already; leave --parts out"):
        load_corpus(str(tmp_path), parts=RULE)
    for name, said in (("synthetic", "synthetic is generated"), ("wnut17", "wnut17 is from the hub")):
        with pytest.raises(UserError, match=f"--parts divides files of your own, and {said}; leave --parts out"):
            load_corpus(name, parts=RULE)
    with pytest.raises(UserError, match="the reader of ontonotes knows which files are which part"):
        load_corpus("ontonotes", tmp_path, parts=RULE)
    (tmp_path / "two.conll").write_text(rows(range(2)))
    with pytest.raises(
        UserError, match=r"too few sentences to divide \(2\), expected at least one for each of train, dev, test"
    ):
        load_corpus(str(tmp_path / "two.conll"), parts=RULE)
    (tmp_path / "one.conll").write_text("a\tO\n" * 201)
    with pytest.raises(UserError, match=r"\(1\).*Are blank lines missing between sentences\? One has 201 words"):
        load_corpus(str(tmp_path / "one.conll"), parts=RULE)
    (tmp_path / "mixed").mkdir()
    for name in ("a.conll", "b.txt"):
        (tmp_path / "mixed" / name).write_text(rows(range(9)))
    with pytest.raises(UserError, match=r"files of several kinds: a.conll, b.txt"):
        load_corpus(str(tmp_path / "mixed"), parts=RULE)
    card = tmp_path / "card.toml"
    card.write_text('[reader_options]\ndocuments = "*.txt"\n')
    with pytest.raises(UserError, match="the card's 'files' or 'documents' say which files are which part"):
        load_corpus(str(card), parts=RULE)


@pytest.mark.parametrize(
    "value", ["80,20", "80,10,11", "100,0,0", "a,b,c", "80,10,10,0", [80, 10], "33.3,33.3,33.4", 3]
)
def test_shares_that_are_none(value: object) -> None:
    with pytest.raises(UserError, match=r"--parts .*: expected three whole numbers above 0 that add up to 100"):
        layer({"parts": value})


def test_a_split_holds_the_rule_and_replays_it(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "split.json"
    words = ["data", "split", str(file), "--parts", "60,20,20", "--split-seed", "5", "--out", str(out)]
    assert main(words) == 0
    content = json.loads(out.read_bytes())
    assert content["parts"] == {"shares": [60, 20, 20], "seed": 5}
    options = layer({"dataset": str(file), "split": str(out)})[0].options
    corpus = load(options)
    assert corpus.division == Division((60, 20, 20), 5)
    split = make_splits(options, corpus)[0]
    assert split.to_json() == content
    assert TaskSplit.from_json(content, corpus).hash == split.hash
    with pytest.raises(UserError, match=r"was divided by --parts 60,20,20 \(seed 5\), this one by --parts 80,10,10"):
        TaskSplit.from_json(content, load_corpus(str(file), parts=RULE))
    with pytest.raises(
        UserError, match=r"split.json is of a corpus divided by --parts 60,20,20 \(seed 5\); leave --parts"
    ):
        load(layer({"dataset": str(file), "split": str(out), "parts": "80,10,10"})[0].options)
    out.write_text(json.dumps(content | {"parts": {"shares": [60, 20, 30], "seed": 5}}))
    with pytest.raises(UserError, match=r"split.json: key 'parts.shares': expected three whole numbers"):
        load(options)


def test_a_run_records_the_rule_and_its_worker_finds_the_same_text(file: Path, tmp_path: Path) -> None:
    given = {"dataset": str(file), "parts": [80, 10, 10], "methods": "finetune-token", "bounds": "none"}
    record = make_plan(layer(given)[0], ResultsFolder.open(tmp_path / "out")).runs[0].record
    corpus = load_corpus(record.inputs["dataset"], parts=Division.of(record.inputs["parts"]))
    assert corpus.fingerprint == record.fingerprints["data"]
    other = make_plan(layer(given | {"split_seed": 2})[0], ResultsFolder.open(tmp_path / "out")).runs[0].record
    assert not {*record.step_keys.values()} & {*other.step_keys.values()}
    third = make_plan(layer(given | {"parts": "60,20,20"})[0], ResultsFolder.open(tmp_path / "out")).runs[0].record
    assert [d for d in differences(record, third) if "[80, 10, 10]" in d and "[60, 20, 20]" in d]


def test_the_doctor_examines_a_divided_corpus(file: Path) -> None:
    with file.open("a") as more:
        more.write(rows([0]).replace("\n", "\r\n") * 9)
    found = check(str(file), division=RULE)
    assert found.findings.totals["warning", "line ends"] == 1  # of the file, not of each part
    assert [tally.sentences for tally in found.parts.values()] == [55, 7, 7]
    assert found.findings.totals["warning", "leak"] + found.findings.totals["warning", "duplicate"] == 9
