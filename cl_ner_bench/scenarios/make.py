"""From a corpus, a scenario and an order to a task split."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import Corpus
from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.scenarios import greedy
from cl_ner_bench.scenarios.filter import holding
from cl_ner_bench.scenarios.split import chunks
from cl_ner_bench.scenarios.task import Task, TaskSplit

T = TypeVar("T")
SCENARIOS = {
    "split": "every train and dev sentence belongs to one task, at random (SpanKL, AAAI 2023)",
    "filter": "a task has every sentence that names one of its types (SpanKL, AAAI 2023)",
    "fgA-pgB": "A types first, then B a step, slices by the rarest type (CFNER, EMNLP 2022)",
}


def orders(data: Card | Corpus, scenario: str = "split") -> int | None:
    """How many orders there are; None where any number >= 0 names one (0 the base order, k >= 1 a permutation)."""
    card = data.card if isinstance(data, Corpus) else data
    return None if greedy.NAME.fullmatch(scenario) else len(card.orders) or None


def parse_orders(text: str, data: Card | Corpus, scenario: str = "split") -> tuple[int, ...]:
    """``--orders``: ``0,1`` or ``all``. Raises UserError for no number, one out of range, ``all`` without end."""
    n = orders(data, scenario)
    if text.strip() == "all":
        if n is None:
            raise UserError("--orders: 'all' needs a card with orders; name numbers instead, e.g. --orders 0,1,2.")
        return tuple(range(n))
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() for word in words):
        raise UserError(f"--orders: expected numbers like 0,1 or 'all', found {text!r}.")
    found = tuple(dict.fromkeys(map(int, words)))
    for order in found:
        _check(order, n)
    return found


def make_split(corpus: Corpus, scenario: str = "split", order: int = 0, split_seed: int = 1) -> TaskSplit:
    """The tasks of ``corpus`` in the order ``order``, each with its train and dev sentences.

    A chunk of ``split`` is bound to its task, not to the position at which it is learned. In ``fgA-pgB`` an
    order permutes types, not tasks, and dev is the full dev set at every step.
    Raises UserError for an unknown scenario, an order out of range, and a task without train sentences.
    """
    _check(order, orders(corpus, scenario))
    if greedy.NAME.fullmatch(scenario):
        types = _permuted(sorted(corpus.card.types), order)
        steps = greedy.groups(scenario, types)
        train = greedy.slices(corpus.used("train"), steps, split_seed)
        names = [types[0] if len(types) == 1 else f"step{k}" for k, types in enumerate(steps, 1)]
        dev = [corpus.ids("dev")] * len(steps)
        tasks = [Task(*row) for row in zip(names, steps, train, dev, strict=True)]
    elif scenario in ("split", "filter"):
        base = list(corpus.card.tasks.items())
        sentences = {}
        for part in ("train", "dev"):
            if scenario == "split":
                sentences[part] = chunks(corpus.ids(part), len(base), split_seed, part)
            else:
                sentences[part] = [holding(corpus.used(part), types) for _, types in base]
        tasks = [Task(*item, sentences["train"][k], sentences["dev"][k]) for k, item in enumerate(base)]
        numbers = corpus.card.orders[order] if corpus.card.orders else _permuted(range(len(tasks)), order)
        tasks = [tasks[k] for k in numbers]
    else:
        near = did_you_mean(scenario, list(SCENARIOS))
        raise UserError(f"--scenario: unknown {scenario!r}; known are {', '.join(SCENARIOS)} (fg8-pg2).{near}")
    for task in tasks:
        if not task.train:
            raise UserError(f"--scenario {scenario}: task {task.name!r} has no train sentences; give more, or drop it.")
    return TaskSplit(corpus.name, corpus.fingerprint, scenario, order, tuple(tasks), corpus.ids("test"))


def _check(order: int, n: int | None) -> None:
    if order < 0 or (n is not None and order >= n):
        known = "0 and up" if n is None else f"0..{n - 1}"
        raise UserError(f"--orders: no order {order}; the dataset has {known}.")


def _permuted(items: Sequence[T], order: int) -> list[T]:
    permuted = list(items)
    if order:
        Random(order).shuffle(permuted)
    return permuted
