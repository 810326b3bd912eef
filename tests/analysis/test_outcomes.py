"""Outcomes against a slow and independent sorting of errors, and their file."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench import HOME
from cl_ner_bench.analysis.data import outcomes
from cl_ner_bench.analysis.data.frames import load_results
from cl_ner_bench.analysis.data.outcomes import KINDS, Outcomes, derive_outcomes
from cl_ner_bench.analysis.data.run_outcomes import outcomes_of
from cl_ner_bench.analysis.scores.scorer import count
from cl_ner_bench.analysis.verify import verify
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.files import sealed
from cl_ner_bench.testing.results import run_record, write_grid, write_run

Mention = tuple[int, int, str]
TYPES = ("A", "B", "C", "D")  # learned two by two
TASKS = [
    {"name": "first", "types": ["A", "B"], "learned_at": 1},
    {"name": "second", "types": ["C", "D"], "learned_at": 2},
]
RUN = run_record(2, tasks=TASKS)
NAMES = {"right": outcomes.RIGHT, "O": outcomes.AS_O, "new": outcomes.AS_NEW, "old": outcomes.AS_OLD}
NAMES["boundary"] = outcomes.BOUNDARY


@st.composite
def mentions(draw: st.DrawFn, types: tuple[str, ...] = TYPES) -> list[Mention]:
    """Of a short sentence; they may nest, overlap and stand there twice."""
    place = st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from(types))
    return [(start, start + length, type_) for start, length, type_ in draw(st.lists(place, max_size=4))]


SENTENCES = st.lists(st.tuples(mentions(), mentions(), mentions(("A", "B"))), min_size=1, max_size=4)


def rows_of(sentences: Any) -> dict[int, list[dict[str, Any]]]:
    """Return the rows that a run stores of sentences with gold, final and first predictions."""
    return {
        1: [
            {"id": 7 * i, "gold": [m for m in gold if m[2] in "AB"], "pred": [(*m, 0.5) for m in first]}
            for i, (gold, _, first) in enumerate(sentences)
        ],
        2: [
            {"id": 7 * i, "gold": gold, "pred": [(*m, 0.5) for m in last]}
            for i, (gold, last, _) in enumerate(sentences)
        ],
    }


def partner(of: Mention, others: list[Mention]) -> Mention | None:
    """The wrong mention of the other side that explains ``of``."""

    def shared(m: Mention) -> int:
        return len(set(range(*m[:2])) & set(range(*of[:2])))

    near = [m for m in others if shared(m)]
    near.sort(key=lambda m: (m[:2] != of[:2], m[2] != of[2], -shared(m), m))  # types sort by name as by step
    return near[0] if near else None


def sort_errors(gold: list[Mention], pred: list[Mention], new: str) -> tuple[dict[Mention, str], dict[Mention, str]]:
    """The outcome of each gold mention, and the kind of each false positive, of one sentence."""
    lost, false = sorted(set(gold) - set(pred)), sorted(set(pred) - set(gold))
    outcomes = dict.fromkeys(set(gold) & set(pred), "right")
    for m in lost:
        other = partner(m, false)
        if other is None:
            outcomes[m] = "O"
        elif other[2] == m[2]:
            outcomes[m] = "boundary"
        else:
            outcomes[m] = "new" if other[2] in new else "old"
    kinds = {}
    for m in false:
        other = partner(m, lost)
        if other is None:
            kinds[m] = "O-as-new" if m[2] in new else "spurious"
        elif other[2] == m[2]:
            kinds[m] = "boundary"
        else:
            kinds[m] = "old-as-new" if m[2] in new and other[2] not in new else "type"
    return outcomes, kinds


@pytest.mark.slow
@given(SENTENCES)
def test_every_mention_is_sorted_as_by_hand(sentences: Any) -> None:
    rows = rows_of(sentences)
    r = derive_outcomes(RUN, {}, rows.__getitem__)
    for k, new in ((1, "AB"), (2, "CD")):
        expected: Counter[tuple[str, str]] = Counter()
        confusion: Counter[tuple[str, str]] = Counter()
        for row in rows[k]:
            gold, pred = [tuple(m) for m in row["gold"]], [m[:3] for m in row["pred"]]
            outcomes, kinds = sort_errors(gold, pred, new)
            for m, outcome in outcomes.items():
                age = "new" if m[2] in new else "old"
                name = f"{age}-{outcome}" if outcome in ("right", "boundary") else f"{age}-as-{outcome}"
                expected[name, m[2]] += 1
                other = partner(m, sorted(set(pred) - set(gold)))
                taken = {"right": m[2], "O": "O"}.get(outcome) or (other or m)[2]
                confusion[m[2], taken] += 1
                place = np.flatnonzero((r.mentions == [row["id"], *m[:2], TYPES.index(m[2])]).all(axis=1))
                assert r.outcomes[k - 1, place].tolist() == [NAMES[outcome]]
            for m, kind in kinds.items():
                expected[f"false-{kind}", m[2]] += 1
                if partner(m, sorted(set(gold) - set(pred))) is None:
                    confusion["O", m[2]] += 1
        found = {
            (kind, type_): int(n)
            for kind, line in zip(KINDS, r.errors[k - 1], strict=True)
            for type_, n in zip(TYPES, line, strict=True)
            if n
        }
        assert found == dict(expected)
        names = (*TYPES, "O")
        assert {(names[g], names[p]): n for step, g, p, n in r.confusion.tolist() if step == k} == dict(confusion)


@pytest.mark.slow
@given(SENTENCES)
def test_the_kinds_add_up_to_the_scorers_counts(sentences: Any) -> None:
    rows = rows_of(sentences)
    r = derive_outcomes(RUN, {}, rows.__getitem__)
    for k in (1, 2):
        triples = count([row["gold"] for row in rows[k]], [row["pred"] for row in rows[k]], TYPES)
        for i, type_ in enumerate(TYPES):
            numbers = dict(zip(KINDS, r.errors[k - 1, :, i].tolist(), strict=True))
            tp = numbers["old-right"] + numbers["new-right"]
            fp = sum(n for kind, n in numbers.items() if kind.startswith("false-"))
            assert [tp, fp, sum(numbers.values()) - tp - fp] == triples[type_]
    final = np.zeros((len(TYPES), 3), dtype=int)
    np.add.at(final, r.final[:, 1], r.final[:, 2:])
    assert final.tolist() == [triples[type_] for type_ in TYPES]
    for id_, type_, *triple in r.final.tolist():
        row = rows[2][id_ // 7]
        assert triple == count([row["gold"]], [row["pred"]], TYPES)[TYPES[type_]]
    assert r.sentences.tolist() == [row["id"] for row in rows[2]]


def test_sentences_without_mentions_are_kept() -> None:
    r = derive_outcomes(RUN, {}, lambda _: [{"id": 3, "gold": [], "pred": []}])
    assert r.n_sentences == 1
    assert not r.errors.any()
    assert r.outcomes.shape == (2, 0)


def test_a_domain_is_scored_on_the_types_taught_there() -> None:
    tasks = [
        {"name": "news", "types": ["A"], "learned_at": 1, "domain": "news"},
        {"name": "web", "types": ["A", "C"], "learned_at": 2, "domain": "web"},
    ]
    rows = {
        1: [{"id": 0, "gold": [[0, 1, "A"]], "pred": [[0, 1, "A", 0.5]]}],
        2: [
            {"id": 0, "gold": [[0, 1, "A"]], "pred": [[0, 1, "A", 0.5], [2, 3, "C", 0.5]]},  # C is not taught in news
            {"id": 1, "gold": [[0, 1, "A"]], "pred": [[2, 3, "C", 0.5]]},
        ],
    }
    r = derive_outcomes(run_record(2, tasks=tasks), {"news": [0], "web": [1]}, rows.__getitem__)
    assert r.final.tolist() == [[0, 0, 1, 0, 0], [1, 0, 0, 0, 1], [1, 1, 0, 1, 0]]
    assert r.learned.tolist() == [1, 2]  # A is new where web learns it
    assert dict(zip(KINDS, r.errors[1].sum(axis=1).tolist(), strict=True))["new-as-O"] == 1


def the_run(folder: Path) -> Path:
    return write_run(folder, counts={1: {"A": [1, 0, 0]}, 2: {"A": [1, 0, 0], "B": [1, 0, 0]}}, run_id="r")


def equal(a: Outcomes, b: Outcomes) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in Outcomes.__dataclass_fields__]
    return all(x.dtype == y.dtype and np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y for x, y in pairs)


@pytest.mark.slow
def test_what_is_stored_is_what_was_found_and_has_the_same_bytes(tmp_path: Path) -> None:
    home = the_run(tmp_path)
    first = outcomes_of(load_results(tmp_path), "r")
    stored = (home / "reduced.json.gz").read_bytes()
    assert equal(outcomes_of(load_results(tmp_path), "r"), first)
    (home / "reduced.json.gz").unlink()
    outcomes_of(load_results(tmp_path), "r")
    assert (home / "reduced.json.gz").read_bytes() == stored
    assert first.outcomes.tolist() == [[0, -1], [0, 0]]
    assert sorted(path.name for path in home.iterdir()) == ["reduced.json.gz", "run.json", "step-1", "step-2"]


def test_it_is_made_anew_where_the_predictions_changed_or_the_file_is_torn(tmp_path: Path) -> None:
    home = the_run(tmp_path)
    before = outcomes_of(load_results(tmp_path), "r")
    (home / "reduced.json.gz").write_bytes((home / "reduced.json.gz").read_bytes()[:40])
    assert equal(outcomes_of(load_results(tmp_path), "r"), before)
    rows = '{"id":0,"gold":[[0,2,"A"]],"pred":[]}\n{"id":1,"gold":[[0,2,"B"]],"pred":[]}\n'
    (home / "step-2" / "predictions.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    assert outcomes_of(load_results(tmp_path), "r").outcomes.tolist() == [[0, -1], [1, 1]]


def test_schema_1_had_no_seal_and_is_read(tmp_path: Path) -> None:
    home = the_run(tmp_path)
    before = outcomes_of(load_results(tmp_path), "r")
    content = json.loads(gzip.decompress((home / "reduced.json.gz").read_bytes()))
    assert content.pop("schema") == outcomes.SCHEMA == 2
    assert content.pop("seal")
    first = gzip.compress(json.dumps({"schema": 1, **content}).encode())
    (home / "reduced.json.gz").write_bytes(first)
    assert equal(outcomes_of(load_results(tmp_path), "r"), before)
    assert (home / "reduced.json.gz").read_bytes() == first, "read, not made anew"
    assert not [fault for fault in verify(tmp_path).faults if fault.path.name == "reduced.json.gz"]
    unsealed = gzip.compress(json.dumps({"schema": 2, **content}).encode())
    (home / "reduced.json.gz").write_bytes(unsealed)
    outcomes_of(load_results(tmp_path), "r")
    assert (home / "reduced.json.gz").read_bytes() != unsealed, "made anew"


def test_the_documents_tell_the_schema() -> None:
    docs = HOME / "docs"
    assert f"| `schema`, `source` | {outcomes.SCHEMA} " in (docs / "errors.md").read_text()
    assert f"1, but {outcomes.SCHEMA} in [`{'reduced.json.gz'}`]" in (docs / "results.md").read_text()


NOTHING = {"shape": [0], "int32": ""}


@pytest.mark.parametrize(
    ("key", "value"),
    [("types", ["Z", "A"]), ("steps", [1]), ("mentions", NOTHING), ("outcomes", ["."]), ("final", [])],
)
def test_a_stored_file_of_another_shape_is_made_anew(tmp_path: Path, key: str, value: Any) -> None:
    home = the_run(tmp_path)
    before = outcomes_of(load_results(tmp_path), "r")
    content = json.loads(gzip.decompress((home / "reduced.json.gz").read_bytes()))
    (home / "reduced.json.gz").write_bytes(gzip.compress(json.dumps(sealed(content | {key: value})).encode()))
    assert equal(outcomes_of(load_results(tmp_path), "r"), before)


def test_a_folder_that_cannot_be_written_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = the_run(tmp_path)

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outcomes, "write_bytes", refuse)
    assert outcomes_of(load_results(tmp_path), "r").n_sentences == 2
    assert not (home / "reduced.json.gz").exists()


@pytest.mark.parametrize(
    "line",
    [
        '{"id":0,"gold":[[0,2,"Z"]],"pred":[]}',  # a type of nobody
        '{"id":0,"gold":[[0,2]],"pred":[]}',
        '{"id":0,"pred":[]}',
        '{"id":0,"gold":[[-1,2,"A"]],"pred":[]}',
        '{"id":0,"gold":[[0,99999999999999999999,"A"]],"pred":[]}',
        '{"id":"x","gold":[],"pred":[]}',
        "[]",
        "{",
    ],
)
def test_predictions_that_are_none_are_refused_by_name(tmp_path: Path, line: str) -> None:
    home = the_run(tmp_path)
    (home / "step-2" / "predictions.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    with pytest.raises(UserError, match=r"predictions\.jsonl\.gz"):
        outcomes_of(load_results(tmp_path), "r")


def test_missing_and_unknown_runs_are_refused(tmp_path: Path) -> None:
    home = the_run(tmp_path)
    results = load_results(tmp_path)
    (home / "step-1" / "predictions.jsonl.gz").unlink()
    with pytest.raises(UserError, match="step-1"):
        outcomes_of(results, "r")
    with pytest.raises(UserError, match="no finished run 'q'"):
        outcomes_of(results, "q")


def test_gold_that_the_last_step_lacks_is_refused() -> None:
    rows = {1: [{"id": 0, "gold": [[0, 1, "A"]], "pred": []}], 2: [{"id": 0, "gold": [], "pred": []}]}
    with pytest.raises(UserError, match="the last step lacks"):
        derive_outcomes(RUN, {}, rows.__getitem__)


def test_a_run_of_the_last_step_only_has_one_step(tmp_path: Path) -> None:
    write_grid(tmp_path, ["joint-span"], n_steps=3, joint_last=True)
    results = load_results(tmp_path)
    r = outcomes_of(results, results.finished[0].run_id)
    assert r.steps == (3,)
    assert r.outcomes.shape == (1, 3)
