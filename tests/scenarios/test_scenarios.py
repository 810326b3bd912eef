"""Task splits: who is learned when, from which sentences, with which labels."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError
from cl_ner_bench.scenarios.assignment import at_random
from cl_ner_bench.scenarios.split import increments, make_split, orders, parse_orders
from cl_ner_bench.scenarios.task import TaskSplit

Make = Callable[..., Corpus]
TASKS = {"people": ("PER",), "places": ("LOC", "GPE"), "others": ("ORG",)}
ORDERS = ((0, 1, 2), (2, 0, 1))
ROWS = ["PER", "LOC PER", "", "ORG GPE", "GPE", "ORG", "", "PER ORG LOC", "LOC", "PER PER"]


@pytest.fixture
def toy(make_corpus: Make) -> Corpus:
    return make_corpus(ROWS, TASKS, ORDERS)


@given(st.integers(1, 9), st.integers(0, 60), st.integers(0, 5))
def test_chunks_are_those_of_the_published_code(n_tasks: int, extra: int, seed: int) -> None:
    n = n_tasks + extra
    indices = list(range(n))
    random.seed(seed)
    random.shuffle(indices)
    size = n // n_tasks
    expected = [indices[k * size : (k + 1) * size] for k in range(n_tasks)]
    expected[-1] = indices[(n_tasks - 1) * size :]
    assert at_random(range(n), [1.0] * n_tasks, seed) == [tuple(sorted(chunk)) for chunk in expected]


def test_published_chunk_sizes() -> None:
    # SpanKL (arXiv 2302.12200): Few-NERD in 8 tasks, OntoNotes in 6.
    for n, tasks, size, last in ((131_767, 8, 16_470, 16_477), (18_824, 8, 2_353, 2_353), (59_924, 6, 9_987, 9_989)):
        assert [len(c) for c in at_random(range(n), [1.0] * tasks, 1)] == [size] * (tasks - 1) + [last]


def test_too_few_sentences_for_the_tasks(make_corpus: Make) -> None:
    with pytest.raises(UserError, match="2 train sentences cannot be split among 3 tasks"):
        make_split(make_corpus(ROWS[:2], TASKS))


def test_a_chunk_is_bound_to_its_task_not_to_its_position(toy: Corpus) -> None:
    first, second = (make_split(toy, "split", order) for order in (0, 1))
    assert [t.name for t in first.tasks] == ["people", "places", "others"]
    assert [t.name for t in second.tasks] == ["others", "people", "places"]
    assert {t.name: t for t in first.tasks} == {t.name: t for t in second.tasks}
    assert sorted(i for t in first.tasks for i in t.train) == list(range(len(ROWS)))
    assert make_split(toy, "split", 0, split_seed=2).tasks != first.tasks
    assert first.hash != second.hash


def test_train_and_dev_are_shuffled_alike(toy: Corpus) -> None:
    # Both are re-seeded, so parts of one size are cut alike.
    assert all(task.train == task.dev for task in make_split(toy).tasks)


def test_filter(toy: Corpus) -> None:
    split = make_split(toy, "filter", 1)
    found = {t.name: t.train for t in split.tasks}
    assert found == {"others": (3, 5, 7), "people": (0, 1, 7, 9), "places": (1, 3, 4, 7, 8)}
    assert split.test == tuple(range(len(ROWS)))


def test_a_task_without_sentences(make_corpus: Make) -> None:
    with pytest.raises(UserError, match="task 'others' has no train sentences"):
        make_split(make_corpus(["PER", "GPE"], TASKS), "filter")


# fgA-pgB


def test_greedy_steps_and_names(toy: Corpus) -> None:
    split = make_split(toy, "fg2-pg1")
    assert [(t.name, t.types) for t in split.tasks] == [("step1", ("GPE", "LOC")), ("ORG", ("ORG",)), ("PER", ("PER",))]
    assert all(t.dev == tuple(range(len(ROWS))) for t in split.tasks)


def test_greedy_slices_are_disjoint_and_within_capacity(toy: Corpus) -> None:
    split = make_split(toy, "fg2-pg1")
    ids = [i for t in split.tasks for i in t.train]
    assert len(set(ids)) == len(ids) == 9  # capacities int(10 * 2 / 4), int(10 * 1 / 4) twice: 5, 2 and 2
    assert [len(t.train) for t in split.tasks] == [5, 2, 2]
    assert make_split(toy, "fg2-pg1") == split


def test_greedy_takes_the_rarest_type_first_and_spills_at_random(make_corpus: Make) -> None:
    # A is rarer. Room for 3 sentences a step: three of A fill step 1, the fourth goes to its B, the last nowhere.
    rows = ["A B", "A", "A", "A B", "B", "B", "B"]
    split = make_split(make_corpus(rows, {"A": ("A",), "B": ("B",)}), "fg1-pg1")
    assert [t.train for t in split.tasks] == [(0, 1, 2), (3, 4, 5)]
    # Sentences without mentions go where there is room, at random but seeded.
    many = make_corpus(["A", "B"] + [""] * 40, {"A": ("A",), "B": ("B",)})
    ones = [make_split(many, "fg1-pg1", split_seed=seed).tasks[0].train for seed in (1, 1, 2)]
    assert ones[0] == ones[1] != ones[2]
    assert [len(o) for o in ones] == [21] * 3


def test_greedy_ties_do_not_depend_on_the_mentions_order(make_corpus: Make) -> None:
    tasks = {"A": ("A",), "B": ("B",)}
    one, two = (make_split(make_corpus(rows, tasks), "fg1-pg1") for rows in (["A B", "B A"], ["B A", "A B"]))
    assert [t.train for t in one.tasks] == [t.train for t in two.tasks] == [(0,), (1,)]


@pytest.mark.parametrize(
    ("wanted", "sizes"), [((8, 2), [8] + [2] * 5), ((2, 2), [2] * 9), ((1, 1), [1] * 18), ((18, 1), [18])]
)
def test_increments(wanted: tuple[int, int], sizes: list[int]) -> None:
    types = [f"t{i:02d}" for i in range(18)]
    steps = increments(wanted, types)
    assert [len(s) for s in steps] == sizes
    assert list(itertools.chain(*steps)) == types


@pytest.mark.parametrize("wanted", [(8, 3), (20, 1), (0, 1), (2, 0)])
def test_increments_that_do_not_divide(wanted: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="fg{}-pg{} does not divide 18 types".format(*wanted)):
        increments(wanted, [str(i) for i in range(18)])


# Orders


def test_orders_of_a_card(toy: Corpus) -> None:
    assert orders(toy) == orders(toy.card) == 2
    assert parse_orders("all", toy) == (0, 1)
    assert parse_orders("1, 0,1", toy) == (1, 0)
    with pytest.raises(UserError, match=r"no order 2; the dataset has 0..1"):
        make_split(toy, "split", 2)


def test_orders_without_card_orders_are_seeded_permutations(make_corpus: Make) -> None:
    corpus = make_corpus(ROWS, {t: (t,) for t in ("GPE", "LOC", "ORG", "PER")})
    assert orders(corpus) is None
    names = [[t.name for t in make_split(corpus, "split", k).tasks] for k in range(30)]
    assert names[0] == ["GPE", "LOC", "ORG", "PER"]
    assert all(sorted(n) == names[0] for n in names)
    assert len({tuple(n) for n in names}) > 10
    assert names[7] == [t.name for t in make_split(corpus, "split", 7).tasks]
    with pytest.raises(UserError, match=r"'all' needs a card with orders; .* --orders 0,1,2\."):
        parse_orders("all", corpus)


def test_the_orders_that_a_message_proposes_are_different_permutations(make_corpus: Make) -> None:
    corpus = make_corpus(ROWS, {t: (t,) for t in ("GPE", "LOC", "ORG")})
    with pytest.raises(UserError) as error:
        parse_orders("all", corpus)
    proposed = str(error.value).rpartition(" ")[2].rstrip(".").split(",")
    assert len({make_split(corpus, "split", int(k)).tasks for k in proposed}) == len(proposed) == 3
    assert proposed != ["0", "1", "2"]  # of these, two are the same


def test_greedy_orders_permute_types(toy: Corpus) -> None:
    assert orders(toy, "fg2-pg1") is None
    found = {make_split(toy, "fg2-pg1", k).types(3) for k in range(20)}
    assert len(found) > 5
    assert all(sorted(types) == sorted(toy.card.types) for types in found)


@pytest.mark.parametrize("text", ["", "x", "0;1", "-1", "1.5"])
def test_orders_that_are_no_numbers(toy: Corpus, text: str) -> None:
    with pytest.raises(UserError, match="--orders"):
        parse_orders(text, toy)


def test_unknown_scenario(toy: Corpus) -> None:
    with pytest.raises(UserError, match=r"unknown 'fliter'.*Did you mean 'filter'"):
        make_split(toy, "fliter")


# The split file


@pytest.mark.parametrize("scenario", ["split", "filter", "fg2-pg1", "fg2-pg1-seen", "add-one", "add-one-k1"])
def test_split_file_round_trip(toy: Corpus, scenario: str) -> None:
    split = make_split(toy, scenario, 1)
    again = TaskSplit.from_json(split.to_json(), toy)
    assert again == split
    assert again.hash == split.hash


def change(path: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        if value is None:
            del data[path[-1]]
        else:
            data[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (change(["schema"], 2), "key 'schema': expected 1, found 2"),
        (change(["order"], None), "key 'order' is missing: expected an order of at least 0"),
        (change(["order"], True), "key 'order'"),
        (change(["data"], "0" * 64), "made from other data"),
        (change(["tasks"], []), "key 'tasks': expected a list of tasks that is not empty"),
        (change(["tasks", 0, "types"], ["PERSON"]), "no type"),
        (change(["tasks", 0, "types"], []), "a list of types"),
        (change(["tasks", 0, "types"], ["PER", "PER"]), r"key 'tasks\[0\].types': expected each type once"),
        (change(["tasks", 0, "domain"], "news"), "no domain 'news'"),
        (change(["dataset"], "other"), "a split of other, not of toy: pass that --dataset"),
        (
            change(["tasks", 0, "train"], []),
            r"key 'tasks\[0\].train': expected a list of sentence ids that is not empty",
        ),
        (change(["more"], 1), "unknown key 'more'"),
        (change(["protocol"], {"assign": "magic"}), "key 'protocol.assign': expected one of random"),
        (change(["protocol"], {"like": "other.toml"}), "unknown key 'protocol.like'"),
        (change(["domains"], {"news": [99]}), "no sentence 99"),
        (change(["domains"], {"news": [0, 1]}), "no domain ''"),
        (change(["tasks", 0, "domain"], []), r"key 'tasks\[0\].domain': expected a text, found \[\]"),
        (change(["labelled_at"], {"PER": [2]}), "'labelled_at' contradicts the tasks"),
        (change(["order_of"], "words"), "key 'order_of': expected one of tasks, types, newcomer"),
        (change(["order"], -1), "an order of at least 0"),
        (change(["tasks", 1, "train"], [0, 10]), "no sentence 10"),
        (change(["tasks", 1, "dev"], [-1]), "no sentence -1"),
        (change(["tasks", 1, "dev"], [1, 1]), "named twice"),
        (change(["tasks", 1, "train"], ["1"]), "a list of sentence ids"),
        (change(["tasks", 2, "name"], None), r"key 'tasks\[2\].name' is missing"),
        (change(["test"], [99]), "no sentence 99"),
    ],
)
def test_split_files_that_do_not_fit(toy: Corpus, edit: Callable[[dict[str, Any]], None], said: str) -> None:
    data = make_split(toy).to_json()
    edit(data)
    with pytest.raises(UserError, match=said) as caught:
        TaskSplit.from_json(data, toy, "my.json")
    assert str(caught.value).startswith("my.json: ")


@pytest.mark.slow
def test_a_sample_is_split_by_its_own_ids() -> None:
    whole = load_corpus("synthetic")
    corpus = load_corpus("synthetic", max_sentences=100, split_seed=3)
    assert corpus.sample is not None
    split = make_split(corpus, "split", 0, 3)
    assert sorted(i for t in split.tasks for i in t.train) == list(corpus.sample["train"])
    assert len(split.test) == 43
    step = split.step_data(corpus, 1)
    assert all(s.words == whole.parts["train"][s.id].words for s in step.train)
    with pytest.raises(UserError, match="other data"):
        TaskSplit.from_json(split.to_json(), whole)


@pytest.mark.slow
def test_few_nerd_split(real_data: Any) -> None:
    corpus = load_corpus("fewnerd", real_data / "fewnerd")
    splits = [make_split(corpus, "split", k) for k in range(4)]
    names = ["location", "person", "organization", "other", "product", "building", "art", "event"]
    assert [t.name for t in splits[0].tasks] == names
    assert [t.name for t in splits[2].tasks] == [names[k] for k in (4, 7, 3, 1, 6, 0, 5, 2)]
    assert [len(t.train) for t in splits[0].tasks] == [1424] * 7 + [1430]
    assert [len(t.dev) for t in splits[0].tasks] == [197] * 7 + [204]
    assert len({frozenset(s.tasks) for s in splits}) == 1
    assert Counter(len(t.types) for t in splits[3].tasks) == Counter([7, 8, 10, 12, 9, 8, 6, 6])
