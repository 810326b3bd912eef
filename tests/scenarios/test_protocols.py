"""Protocols: every point of their space keeps labels where they belong, and the published ones are exact."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ner_bench.cli.overview import as_text
from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import PARTS, Corpus, Mention, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.scenarios.assignment import blurred, by_filter, few, greedy
from cl_ner_bench.scenarios.protocol import (
    Assign,
    Dev,
    Labels,
    PlannedTask,
    Protocol,
    Scenario,
    Selection,
    find_scenario,
    read_scenario,
)
from cl_ner_bench.scenarios.split import increments, make_split
from cl_ner_bench.scenarios.statistics import overview, recall_ceiling
from cl_ner_bench.scenarios.task import TaskSplit

Make = Callable[..., Corpus]
TYPES = ("A", "B", "C", "D")


def sentences(rows: list[str]) -> tuple[Sentence, ...]:
    """Sentence i has a one-word mention for each letter in ``rows[i]``."""
    return tuple(
        Sentence(
            i,
            tuple(f"w{i}.{k}" for k in range(len(row))) or ("none",),
            tuple(Mention(k, k + 1, t) for k, t in enumerate(row)),
        )
        for i, row in enumerate(rows)
    )


@st.composite
def corpora(draw: st.DrawFn, domains: bool = False) -> Corpus:
    """Up to 24 sentences a part, each type in train; of two domains where asked for."""
    row = st.text("ABCD", max_size=4)
    parts = {part: sentences(["ABCD", "DCBA", *draw(st.lists(row, min_size=4, max_size=20)), "ABCD"]) for part in PARTS}
    cut = {part: draw(st.integers(1, len(parts[part]) - 1)) for part in PARTS}
    found = {
        "news": {part: range(cut[part]) for part in PARTS},
        "tweets": {part: range(cut[part], len(parts[part])) for part in PARTS},
    }
    card = Card("toy", "Toy", {t: (t,) for t in TYPES})
    return Corpus(card, parts, "made up", domains=found if domains else {})


@st.composite
def scenarios(draw: st.DrawFn, domains: bool = False) -> Scenario:
    """Any protocol over any tasks: of uneven size, with types that come back, with or without domains."""
    protocol = Protocol(
        assign=draw(st.sampled_from(get_args(Assign))),
        dev=draw(st.sampled_from(get_args(Dev))),
        train_labels=draw(st.sampled_from(get_args(Labels))),
        dev_labels=draw(st.sampled_from(get_args(Labels))),
        selection=draw(st.sampled_from(get_args(Selection))),
        max_words=draw(st.none() | st.integers(1, 4)),
        blurry=draw(st.sampled_from([0.0, 0.3, 2.0])),
        sentences=draw(st.none() | st.integers(1, 5)),
        shots=draw(st.none() | st.integers(1, 3)),
    )
    if not domains and draw(st.booleans()):
        first = draw(st.integers(1, 3))
        return Scenario("increments", protocol, increments=(first, 1))
    groups = draw(
        st.lists(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True), min_size=1, max_size=3)
    )
    tasks = [
        PlannedTask(
            tuple(types),
            f"task{k}",
            draw(st.sampled_from(["news", "tweets"])) if domains else "",
            draw(st.sampled_from([0.5, 1, 3])),
        )
        for k, types in enumerate(groups)
    ]
    return Scenario("free", protocol, tuple(tasks))


def split_or_none(corpus: Corpus, scenario: Scenario, order: int) -> TaskSplit | None:
    """The split; None where the corpus is too small for it, which must be said as a UserError."""
    try:
        return make_split(corpus, scenario, order)
    except UserError as error:
        if "train sentences" in str(error) or "dev sentences" in str(error):
            return None
        raise


@pytest.mark.slow
@given(st.data(), st.booleans(), st.booleans(), st.integers(0, 3))
@settings(max_examples=300)
def test_no_label_outside_the_allowed_set_reaches_a_method(
    data: st.DataObject, domains: bool, cumulative: bool, order: int
) -> None:
    """Change every label that a step may not see, once the split is fixed: the step's data stay equal.

    Dev, by which the epoch is chosen, is part of it; a method's hooks see no other label there than in train.
    """
    corpus, scenario = data.draw(corpora(domains)), data.draw(scenarios(domains))
    split = split_or_none(corpus, scenario, order)
    if split is None:
        return
    for step in range(1, split.n_steps + 1):
        clean = split.step_data(corpus, step, cumulative)
        own = {t for task in split.tasks[step - 1 : step] for t in task.types}
        so_far = {t for task in split.tasks[:step] for t in task.types}
        protocol = scenario.protocol
        allowed = {"test": so_far}
        for part, labels in (("train", protocol.train_labels), ("dev", protocol.dev_labels)):
            allowed[part] = so_far if cumulative or labels == "seen" else own
        assert (set(clean.labelled), set(clean.dev_labelled)) == (allowed["train"], allowed["dev"])

        def poison(sentence: Sentence, types: set[str]) -> Sentence:
            mentions = [m for m in sentence.mentions if m.type in types]
            mentions += [Mention(0, 1, t) for t in TYPES if t not in types]
            return dataclasses.replace(sentence, mentions=tuple(sorted(mentions)))

        parts = {part: tuple(poison(s, allowed[part]) for s in corpus.parts[part]) for part in PARTS}
        poisoned = dataclasses.replace(corpus, parts=parts)
        assert split.step_data(poisoned, step, cumulative) == clean
        parts["dev"] = tuple(poison(s, allowed["train"] & allowed["dev"]) for s in corpus.parts["dev"])
        assert split.step_data(dataclasses.replace(corpus, parts=parts), step, cumulative).shown == clean.shown
        assert not clean.shown.dev or scenario.protocol.selection != "last"
        for part, given_ in (("train", clean.train), ("dev", clean.dev)):
            assert {m.type for s in given_ for m in s.mentions} <= allowed[part]
        assert {m.type for s in split.test_part(poisoned, step) for m in s.mentions} <= so_far


@pytest.mark.slow
@given(st.data(), st.booleans(), st.integers(0, 3))
def test_every_split_is_replayed_from_its_file(data: st.DataObject, domains: bool, order: int) -> None:
    corpus, scenario = data.draw(corpora(domains)), data.draw(scenarios(domains))
    split = split_or_none(corpus, scenario, order)
    if split is not None:
        again = TaskSplit.from_json(json.loads(json.dumps(split.to_json())), corpus)
        assert again == split
        assert again.hash == split.hash


@pytest.mark.slow
@given(st.data(), st.booleans())
def test_random_and_greedy_train_sentences_belong_to_one_task(data: st.DataObject, domains: bool) -> None:
    corpus, scenario = data.draw(corpora(domains)), data.draw(scenarios(domains))
    split = split_or_none(corpus, scenario, 0)
    if split is not None and scenario.protocol.assign != "filter" and not scenario.protocol.blurry:
        ids = [i for task in split.tasks for i in task.train]
        assert len(ids) == len(set(ids))


# The published protocols


def test_the_variant_of_the_later_codebase(make_corpus: Make) -> None:
    rows = ["A", "B", "C", "", "A B", "C"] * 3
    corpus = make_corpus(rows, {t: (t,) for t in "ABC"})
    plain, variant = make_split(corpus, "fg1-pg1"), make_split(corpus, "fg1-pg1-seen")
    assert [t.train for t in variant.tasks] == [t.train for t in plain.tasks]
    whole = tuple(range(len(rows)))
    assert [t.dev for t in plain.tasks] == [whole] * 3
    kept = [set("ABC"[:k]) for k in (1, 2, 3)]
    assert [t.dev for t in variant.tasks] == [tuple(i for i in whole if set(rows[i].split()) & types) for types in kept]
    assert [variant.step_data(corpus, k).dev_labelled for k in (1, 2)] == [("A",), ("A", "B")]
    assert [s.step_data(corpus, 2).selection for s in (plain, variant)] == ["micro", "last"]
    assert plain.step_data(corpus, 2).dev_labelled == ("B",)


def test_long_sentences_are_cut_where_the_protocol_says_so(make_corpus: Make) -> None:
    corpus = make_corpus(["A " * 130, "B", "A", "B"], {"A": ("A",), "B": ("B",)})
    split = make_split(corpus, "fg1-pg1-seen")
    (long,) = [s for s in split.test_part(corpus, 2) if s.id == 0]
    assert (len(long.words), len(long.mentions)) == (128, 128)
    assert max(len(s.words) for s in make_split(corpus, "fg1-pg1").test_part(corpus, 2)) == 130


# Sentences and capacities of the published slices (CFNER's data; specs of the field).
@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "n_types", "first", "then", "sizes"),
    [
        (14_041, 4, 1, 1, [3510] * 4),
        (14_041, 4, 2, 1, [7020, 3510, 3510]),
        (59_376, 16, 1, 1, [3711] * 16),
        (59_376, 16, 2, 2, [7422] * 8),
        (59_376, 16, 8, 1, [29_688] + [3711] * 8),
        (59_376, 16, 8, 2, [29_688] + [7422] * 4),
        (59_924, 18, 1, 1, [3329] * 18),
        (59_924, 18, 2, 2, [6658] * 9),
        (59_924, 18, 8, 1, [26_632] + [3329] * 10),
        (59_924, 18, 8, 2, [26_632] + [6658] * 5),
        (131_767, 66, 6, 6, [11_978] * 11),
    ],
)
def test_published_slice_sizes(n: int, n_types: int, first: int, then: int, sizes: list[int]) -> None:
    """The ten settings of CFNER and Few-NERD's FG-6-PG-6; sizes follow from counts alone."""
    types = [f"t{k:02d}" for k in range(n_types)]
    rows = [Sentence(i, ("w",), (Mention(0, 1, types[i % n_types]),) if i % 3 else ()) for i in range(n)]
    found = greedy(rows, increments((first, then), types), seed=1)
    assert [len(ids) for ids in found] == sizes
    assert n - sum(map(len, found)) == n - sum(sizes)


@pytest.mark.slow
def test_ocilners_tasks(real_data: Path) -> None:
    corpus = load_corpus("fewnerd", real_data / "fewnerd")
    published = json.loads((real_data / "fewnerd" / "ocilner_tasks.json").read_text())["tasks"]
    split = make_split(corpus, "ocilner")
    assert [list(t.types) for t in split.tasks] == published
    for task in split.tasks:
        ids = [s.id for s in corpus.used("train") if any(m.type in task.types for m in s.mentions)]
        assert list(task.train) == ids
    assert sum(len(t.train) for t in split.tasks) > len(corpus.ids("train"))  # sentences repeat


# What no published protocol has


def scenario_of(tmp_path: Path, text: str, card: Card | None = None) -> Scenario:
    file = tmp_path / "own.toml"
    file.write_text(text)
    return read_scenario(file, card or Card("toy", "Toy", {t: (t,) for t in TYPES}))


def test_a_scenario_of_ones_own(tmp_path: Path, make_corpus: Make) -> None:
    corpus = make_corpus(["A B", "A", "B C", "", "C D", "D"] * 10, {t: (t,) for t in TYPES})
    text = """
    name = "uneven"
    blurry = 0.5
    [[tasks]]
    types = ["A", "B"]
    share = 3
    [[tasks]]
    types = ["C"]
    [[tasks]]
    name = "A again"
    types = ["A", "D"]
    share = 2
    """
    scenario = scenario_of(tmp_path, text)
    split = make_split(corpus, scenario)
    assert [t.name for t in split.tasks] == ["task1", "C", "A again"]
    assert [len(t.train) for t in split.tasks] == [30 + 15, 10 + 5, 20 + 10]
    assert [len(t.dev) for t in split.tasks] == [30, 10, 20]
    assert split.types(3) == ("A", "B", "C", "D")
    assert split.labelled_at == {"A": [1, 3], "B": [1], "C": [2], "D": [3]}
    assert split.to_json()["labelled_at"] == split.labelled_at
    assert split.to_json()["protocol"] == {"blurry": 0.5}
    third = split.step_data(corpus, 3)
    assert (third.types, third.labelled) == (("A", "B", "C", "D"), ("A", "D"))
    assert {m.type for s in third.train for m in s.mentions} == {"A", "D"}


def test_returning_types_come_with_other_sentences() -> None:
    found = by_filter(sentences(["A"] * 20 + ["B", "AB"]), [("A",), ("B",), ("A", "C")], seed=1)
    assert not set(found[0]) & set(found[2])
    assert sorted({*found[0], *found[2]}) == [*range(20), 21]
    assert found[1] == (20, 21)


def test_few_shots() -> None:
    rows = sentences(["A", "B", "AAB", "", "C", "A", "B", "A"] * 5)
    chosen = few(rows, PlannedTask(("A", "B"), "t", shots=3), seed=1)
    count = Counter(m.type for i in chosen for m in rows[i].mentions)
    assert all(3 <= count[t] <= 5 for t in "AB")
    assert count["C"] == 0
    assert (
        chosen
        == few(rows, PlannedTask(("A", "B"), "t", shots=3), seed=1)
        != few(rows, PlannedTask(("A", "B"), "t", shots=3), 2)
    )
    assert len(few(rows, PlannedTask(("A",), "t", sentences=4), seed=1)) == 4


def test_a_corpus_of_several_domains(make_corpus: Make) -> None:
    corpus = make_corpus(["A", "A B", "B", "B C", "C", "A C"], {t: (t,) for t in "ABC"})
    halves = {"news": {p: range(3) for p in PARTS}, "tweets": {p: range(3, 6) for p in PARTS}}
    corpus = dataclasses.replace(corpus, domains=halves)
    split = make_split(corpus, "domains")
    assert [(t.name, t.types, t.train) for t in split.tasks] == [
        ("news", ("A", "B"), (0, 1, 2)),
        ("tweets", ("A", "B", "C"), (3, 4, 5)),
    ]
    assert split.scored_types(1) == {"news": ("A", "B")}
    assert split.scored_types(2) == {"news": ("A", "B"), "tweets": ("A", "B", "C")}
    assert [s.id for s in split.test_part(corpus, 1)] == [0, 1, 2]
    assert [s.id for s in split.test_part(corpus, 2)] == list(range(6))
    with pytest.raises(UserError, match="toy is one corpus; it needs a union"):
        make_split(make_corpus(["A"], {"A": ("A",)}), "domains")


def test_a_given_order_of_types(tmp_path: Path, make_corpus: Make) -> None:
    scenario = scenario_of(tmp_path, 'like = "fg2-pg1"\ntypes = ["D", "B", "A", "C"]')
    split = make_split(make_corpus(["A B", "C D"] * 4, {t: (t,) for t in TYPES}), scenario)
    assert [t.types for t in split.tasks] == [("D", "B"), ("A",), ("C",)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks = 3", "'tasks': expected a list, found 3"),
        ("asign = 'random'", "unknown key 'asign'; known are assign, dev, "),
        ("asign = 'random'", "Did you mean 'assign'?"),
        ("assign = 'randm'", "'assign': expected one of random, filter, greedy"),
        ("blurry = -1", "'blurry': expected a number of at least 0"),
        ("shots = 0", "'shots': expected a whole number of at least 1"),
        ("shots = true", "'shots': expected a whole number"),
        ("like = 'other.toml'", "'like': expected a built-in scenario"),
        ("types = ['A']", "'types': expected them beside like"),
        ("like = 'fg1-pg1'\ntypes = ['A', 'B']", "missing are C, D"),
        ("like = 'filter'\n[[tasks]]\ntypes = ['A']\nshare = 2", "tasks[0].share"),
        ("like = 'fg1-pg1'\ntypes = ['A', 'X']", "toy has no type 'X'"),
        ("[[tasks]]\ntypes = []", "tasks[0].types"),
        ("[[tasks]]\ntypes = ['A', 'A']", "each type once"),
        ("[[tasks]]\ntypes = ['Z']", "has no type 'Z'"),
        ("[[tasks]]\ntypes = ['A']\nshare = 0", "a number above 0"),
        ("[[tasks]]\ntypes = ['A']\nshots = 1.5", "tasks[0].shots"),
        ("[[tasks]]\ntypes = ['A']\nweight = 2", "unknown key 'tasks[0].weight'"),
        ("[[tasks]]\ntypes = ['A']\n[[tasks]]\nname = 'A'\ntypes = ['B']", "a name that no other task has"),
        ("[[tasks]]\ntypes = ['A']\ndomain = 'x'\n[[tasks]]\ntypes = ['B']", "a domain for all tasks or for none"),
        ("like = 'domains'\norders = [[]]", "'orders': expected them beside [[tasks]] only"),
        ("name = 'fg2-pg2'", "'fg2-pg2' is the name of another scenario"),
        ("orders = [[0, 2]]\n[[tasks]]\ntypes = ['A']\n[[tasks]]\ntypes = ['B']", "permutations of the 2 tasks"),
        ("schema = 2", "'schema': expected 1"),
        ("name = 3", "'name': expected a text"),
        ("[[tasks", "not TOML"),
    ],
)
def test_scenarios_that_do_not_fit(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        scenario_of(tmp_path, text)
    assert said in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5


def test_a_task_that_returns_has_a_name(tmp_path: Path) -> None:
    scenario = scenario_of(tmp_path, "[[tasks]]\ntypes = ['A']\n[[tasks]]\ntypes = ['B']\n[[tasks]]\ntypes = ['A']")
    assert [t.name for t in scenario.tasks] == ["A", "B", "A 2"]


def test_a_scenario_of_another_dataset_is_told() -> None:
    with pytest.raises(UserError, match="ocilner is a scenario of the dataset fewnerd, not of toy"):
        find_scenario("ocilner", Card("toy", "Toy"))


def test_the_overview_counts_each_domain_for_itself(make_corpus: Make) -> None:
    corpus = make_corpus(["A", "A B", "B", "B C", "C", "A C"], {t: (t,) for t in "ABC"})
    halves = {"news": {p: range(3) for p in PARTS}, "tweets": {p: range(3, 6) for p in PARTS}}
    corpus = dataclasses.replace(corpus, domains=halves)
    facts = overview(corpus, make_split(corpus, "domains"))
    assert facts["domains"] == {"news": dict.fromkeys(PARTS, 3), "tweets": dict.fromkeys(PARTS, 3)}
    assert {name: row["train"] for name, row in facts["tasks"].items()} == {"news": 4, "tweets": 5}
    assert facts["co_occurrence"]["matrix"] == [[3, 0], [0, 3]]
    assert [(s["labelled"], s["hidden"]) for s in facts["steps"]] == [
        ({"A": 2, "B": 2}, {"C": 0}),
        ({"A": 1, "B": 1, "C": 3}, {}),
    ]
    assert "sentences by domain" in as_text(facts)


def test_names_of_scenarios(tmp_path: Path) -> None:
    card = Card("toy", "Toy", {"A": ("A",)}, scenarios={"mine": {"assign": "filter"}})
    assert find_scenario("mine", card).protocol == Protocol(assign="filter")
    with pytest.raises(UserError, match=r"unknown 'mien'.*Did you mean 'mine'"):
        find_scenario("mien", card)
    with pytest.raises(UserError, match="cannot be read"):
        find_scenario(str(tmp_path / "none.toml"), card)


def test_a_domain_that_is_not_there(tmp_path: Path, make_corpus: Make) -> None:
    scenario = scenario_of(tmp_path, "[[tasks]]\ntypes = ['A']\ndomain = 'news'")
    with pytest.raises(UserError, match="toy has no domain 'news'; it has none"):
        make_split(make_corpus(["A"], {"A": ("A",)}), scenario)


def test_what_flat_predictions_can_find_at_most() -> None:
    nested = Sentence(
        0, tuple("abcdef"), (Mention(0, 6, "A"), Mention(0, 2, "B"), Mention(1, 3, "A"), Mention(3, 4, "A"))
    )
    flat = Sentence(1, ("x",), (Mention(0, 1, "A"),))
    assert recall_ceiling([nested, flat]) == pytest.approx(3 / 5)
    assert recall_ceiling([flat]) == recall_ceiling([]) == 1
    assert recall_ceiling([nested, flat], width=2) == pytest.approx(3 / 5)
    assert recall_ceiling([nested, flat], width=1) == pytest.approx(2 / 5)
    assert recall_ceiling([nested, flat], nested=True) == 1
    assert recall_ceiling([nested, flat], nested=True, width=2) == pytest.approx(4 / 5)


def test_greedy_looks_for_the_rarest_type_first_whatever_its_task() -> None:
    rows = sentences(["AB", "A", "A", "A", "B"])  # B is rarer, and of the second task
    assert greedy(rows, [("A",), ("B",)], seed=1)[1][0] == 0


def test_blurry_sentences_are_others_and_of_the_same_domain() -> None:
    found = blurred([(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)], ["a", "a", "b"], 0.5, seed=1)
    assert [len(ids) for ids in found] == [6, 6, 2]
    assert set(found[0]) > {0, 1, 2, 3}
    assert set(found[0]) <= set(range(8))
    assert found[2] == (8, 9)


def test_a_tasks_own_budget_stands_above_the_protocols(tmp_path: Path, make_corpus: Make) -> None:
    corpus = make_corpus(["A B"] * 20, {"A": ("A",), "B": ("B",)})
    text = "sentences = 4\n[[tasks]]\ntypes = ['A']\nsentences = 2\n[[tasks]]\ntypes = ['B']\nshots = 9"
    split = make_split(corpus, scenario_of(tmp_path, text))
    assert [len(t.train) for t in split.tasks] == [2, 4]  # shots and sentences: both hold


def test_mentions_that_cross_the_limit_of_words_are_lost_and_counted(make_corpus: Make) -> None:
    corpus = make_corpus(["A " * 130, "B", "A", "B"], {"A": ("A",), "B": ("B",)})
    long = corpus.parts["test"][0]
    long = dataclasses.replace(long, mentions=(Mention(126, 128, "A"), Mention(127, 129, "A"), Mention(128, 129, "B")))
    parts = {part: (long, *corpus.parts[part][1:]) for part in PARTS}
    split = make_split(dataclasses.replace(corpus, parts=parts), "fg1-pg1-seen")
    corpus = dataclasses.replace(corpus, parts=parts)
    (seen,) = [s for s in split.test_part(corpus, 2) if s.id == 0]
    assert seen.mentions == (Mention(126, 128, "A"),)
    assert split.lost_mentions(corpus) == 2
    assert "drops 2 test mentions" in as_text(overview(corpus, split))


def test_dev_of_a_domain_and_gold_of_its_types_alone(tmp_path: Path, make_corpus: Make) -> None:
    corpus = make_corpus(["A", "A B", "B", "B C", "C", "A C"], {t: (t,) for t in "ABC"})
    thirds = {name: {p: range(2 * k, 2 * k + 2) for p in PARTS} for k, name in enumerate(("one", "two", "three"))}
    corpus = dataclasses.replace(corpus, domains=thirds)
    text = "dev = 'whole'\n[[tasks]]\ntypes = ['A']\ndomain = 'one'\n[[tasks]]\ntypes = ['B']\ndomain = 'two'"
    split = make_split(corpus, scenario_of(tmp_path, text, corpus.card))
    assert [t.dev for t in split.tasks] == [(0, 1), (2, 3)]
    assert split.test == (0, 1, 2, 3)
    assert [[m.type for m in s.mentions] for s in split.test_part(corpus, 2)] == [["A"], ["A"], ["B"], ["B"]]


def test_orders_of_eleven_tasks(tmp_path: Path) -> None:
    card = Card("toy", "Toy", {f"t{k}": (f"t{k}",) for k in range(11)})
    tasks = "".join(f"[[tasks]]\ntypes = ['t{k}']\n" for k in range(11))
    assert scenario_of(tmp_path, f"orders = [{[*range(10, -1, -1)]}]\n{tasks}", card).orders[0][0] == 10


def test_orders_of_own_tasks(tmp_path: Path, make_corpus: Make) -> None:
    corpus = make_corpus(["A", "B"] * 4, {"A": ("A",), "B": ("B",)}, orders=((0, 1),))
    scenario: Any = scenario_of(tmp_path, "orders = [[1, 0]]\n[[tasks]]\ntypes = ['A']\n[[tasks]]\ntypes = ['B']")
    assert [t.name for t in make_split(corpus, scenario, 0).tasks] == ["B", "A"]
    with pytest.raises(UserError, match=r"no order 1; the dataset has 0\.\.0"):
        make_split(corpus, scenario, 1)
