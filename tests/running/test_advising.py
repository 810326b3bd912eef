"""The plan of `bench advise`: what a budget buys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.errors import UserError
from cl_ner_bench.running import advising
from cl_ner_bench.running.advising import METHODS, MORE, CandidateGrid, Question, TooFewMinutesError, choose

COUNTS = {"GPE": 300, "ORG": 900, "PER": 600, "RARE": 8}
N = 1_200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("corpus")
    rows = []
    for i in range(N):
        types = [t for t, n in COUNTS.items() if i * n // N < (i + 1) * n // N]  # spread evenly
        rows.append({"words": ["a"] * 4, "mentions": [[k, k + 1, t] for k, t in enumerate(types)]})
    for part in ("train", "dev", "test"):
        (path / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def question(folder: str, **changes: Any) -> Question:
    return Question(**{"given": {"dataset": folder}, "new": None, "shots": None, "minutes": 20.0, **changes})


def needs(question: Question) -> Callable[[CandidateGrid], float]:
    """Seconds that grow with each part of a grid."""

    def seconds(grid: CandidateGrid) -> float:
        return 10 + 0.01 * len(grid.methods) * grid.rounds * (grid.sentences or question.size)

    return seconds


def test_newcomers_are_the_types_with_enough_mentions_the_most_frequent_first(folder: str) -> None:
    asked = question(folder)
    assert asked.newcomers == ["ORG", "PER", "GPE"]  # RARE has about 2 mentions in its slice

    assert question(folder, shots=2).newcomers == ["ORG", "PER", "GPE", "RARE"]
    assert question(folder, new="RARE").newcomers == ["RARE"]


def test_of_two_types_one_is_the_newcomer_and_its_seeds_are_rounds(folder: str) -> None:
    asked = question(folder, given={"dataset": folder, "tasks": "ORG;PER"})
    assert asked.newcomers == ["ORG"]
    assert asked.pairs(3) == ([0], [0, 1, 2])


def test_rounds_are_newcomers_first_then_seeds(folder: str) -> None:
    asked = question(folder)
    orders = [asked.types.index(t) for t in ("ORG", "PER", "GPE")]
    assert [asked.pairs(n) for n in (1, 3, 4)] == [(orders[:1], [0]), (orders, [0]), (orders, [0, 1])]
    one = question(folder, new="PER")
    assert one.pairs(3) == ([orders[1]], [0, 1, 2])


def test_the_smallest_sample_holds_enough_of_the_hardest_of_three_newcomers(folder: str) -> None:
    assert question(folder, shots=30).fewest == 30 * 4 * N // 300
    assert question(folder).fewest == advising.FEWEST_SENTENCES
    assert question(folder, new="RARE").fewest is None  # all sentences


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (1e6, CandidateGrid((*METHODS, *MORE), None, advising.MOST_ROUNDS)),
        (10 + 0.01 * 6 * 4 * N, CandidateGrid((*METHODS, *MORE), None, 4)),
        (10 + 0.01 * 3 * 4 * N, CandidateGrid(METHODS, None, 4)),
        (10 + 0.01 * 3 * 3 * 800, CandidateGrid(METHODS, 800, 3)),
        (10 + 0.01 * 3 * 2 * 400, CandidateGrid(METHODS, 400, 2)),
    ],
)
def test_a_budget_buys_rounds_then_sentences_then_methods(folder: str, budget: float, expected: CandidateGrid) -> None:
    asked = question(folder)
    found = choose(asked, needs(asked), budget + 1)
    assert found == expected
    assert needs(asked)(found) <= budget + 1


def test_a_budget_that_is_too_small_is_told_what_it_needs(folder: str) -> None:
    asked = question(folder, minutes=0.1)
    with pytest.raises(
        TooFewMinutesError, match=r"--minutes 0.1: too few. .* needs about 1 min here.*pass --minutes 1"
    ) as caught:
        choose(asked, needs(asked), 6)
    message = str(caught.value)
    enough = 60 * int(message.rpartition("--minutes ")[2].partition(",")[0])
    assert choose(asked, needs(asked), enough).rounds >= 3
    assert "cheaper: fewer --epochs or --shots, or a corpus of fewer sentences" in message
    assert caught.value.smallest == CandidateGrid(METHODS, 400, 1)


@pytest.mark.parametrize(("load", "said"), [(9.0, "; other work slows it now (load 9.0 on 2 cores)"), (2.0, "")])
def test_a_busy_machine_is_named_where_a_budget_is_too_small(
    folder: str, monkeypatch: pytest.MonkeyPatch, load: float, said: str
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    asked = question(folder, minutes=0.1)
    with pytest.raises(TooFewMinutesError) as caught:
        choose(asked, needs(asked), 6)
    assert str(caught.value).endswith(f"dev and test among them{said}")


@pytest.mark.parametrize("new", ["NEW", None])
def test_train_that_labels_no_old_type_is_refused(tmp_path: Path, new: str | None) -> None:
    rows = {"train": ["NEW"] * 5, "dev": ["NEW", "OLD"], "test": ["NEW", "OLD"]}
    for part, types in rows.items():
        lines = (json.dumps({"words": ["a", "b"], "mentions": [[0, 1, t]]}) for t in types)
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines))
    with pytest.raises(
        UserError, match=r"train labels only NEW, .* the corpus that the old model was trained on"
    ) as error:
        _ = question(str(tmp_path), new=new).newcomers
    assert f"`bench extend MODEL --data {tmp_path} --out NEW_MODEL`" in str(error.value)


def test_a_type_that_is_none(folder: str) -> None:
    with pytest.raises(UserError, match=r"--new PERR: the corpus has no such type. Did you mean 'PER'\?"):
        _ = question(folder, new="PERR").newcomers
