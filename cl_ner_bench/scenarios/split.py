"""Task splits, made from a corpus, a scenario and an order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import TypeVar

from msgspec.structs import replace

from cl_ner_bench.corpora.card import Card
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.scenarios import assignment
from cl_ner_bench.scenarios.protocol import PlannedTask, Scenario, find_scenario
from cl_ner_bench.scenarios.task import Task, TaskSplit, cut
from cl_ner_bench.storage.run_record import NEWCOMER

T = TypeVar("T")

TUNING = 20_260
"""The order and the split seed of `bench tune`. No other command uses them, so no report scores what was tuned on."""


def orders(data: Card | Corpus, scenario: str | Scenario = "split") -> int | None:
    """Return the number of orders; None if any number >= 0 names one (0 the base order, k >= 1 a permutation)."""
    card = data.card if isinstance(data, Corpus) else data
    scenario = find_scenario(scenario, card) if isinstance(scenario, str) else scenario
    if scenario.add_one is not None:
        return len(card.types) or None  # a corpus without a card has no types before it is read
    return len(scenario.orders if scenario.own_tasks else card.orders) or None


def parse_orders(text: str, data: Card | Corpus, scenario: str | Scenario = "split") -> tuple[int, ...]:
    """Return the orders that ``--orders`` names: ``0,1`` or ``all``. Raises UserError for a text that is no list of
    numbers, a number out of range, and ``all`` if there is no last order.
    """
    n = orders(data, scenario)
    if text.strip() == "all":
        if n is None:
            numbers = ",".join(map(str, _distinct_orders(data, scenario)[:3]))
            raise UserError(f"--orders: 'all' needs a card with orders; name numbers instead, e.g. --orders {numbers}.")
        return tuple(range(n))
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isdecimal() for word in words):
        raise UserError(f"--orders: expected numbers like 0,1 or 'all', found {text!r}.")
    found = tuple(dict.fromkeys(map(int, words)))
    for order in found:
        _check(order, n)
    return found


def make_split(corpus: Corpus, scenario: str | Scenario = "split", order: int = 0, split_seed: int = 1) -> TaskSplit:
    """Return the tasks of ``corpus`` in the order ``order``, each with its train and dev sentences.

    An order moves tasks together with their sentences: a task has the same sentences at each position. With increments
    (``fgA-pgB``) an order permutes the types, which are then cut into tasks. With ``add-one`` it names the newcomer by
    its place in the alphabet. The order ``TUNING`` is neither the base order nor a listed order.
    Raises UserError for an unknown scenario, an order out of range, tasks that do not fit the corpus, and a task
    without train sentences.
    """
    scenario = find_scenario(scenario, corpus.card) if isinstance(scenario, str) else scenario
    _check(order, orders(corpus, scenario))
    protocol = scenario.protocol
    base = _base_tasks(corpus, scenario, order)
    train = _assign(corpus, scenario, base, "train", split_seed)
    for k, task in enumerate(base):
        if task.sentences is not None or task.shots is not None:
            train[k] = assignment.few([corpus.parts["train"][i] for i in train[k]], task, split_seed)
    if protocol.blurry:
        train = assignment.blurred(train, [task.domain for task in base], protocol.blurry, split_seed)
    dev = _assign(corpus, scenario, base, "dev", split_seed) if protocol.dev == "same" else []
    tasks: list[Task] = []
    seen: tuple[str, ...] = ()
    for k in _numbers(corpus, scenario, order, len(base)):
        task = base[k]
        seen += task.types
        if not train[k]:
            raise UserError(
                f"--scenario {scenario.name}: task {task.name!r} has no train sentences; give more, or drop it."
            )
        if protocol.dev == "same":
            own = dev[k]
        else:
            allowed = seen if protocol.dev_labels == "seen" else task.types
            whole = _sentences(corpus, "dev", task.domain)
            own = tuple(s.id for s in whole)
            if protocol.dev == "mentions":
                own = assignment.holding([cut(s, protocol.max_words) for s in whole], allowed)
        tasks.append(Task(task.name, task.types, train[k], own, task.domain))
    order_of = NEWCOMER if scenario.add_one is not None else "types" if scenario.increments else "tasks"
    used = dict.fromkeys(task.domain for task in tasks if task.domain)
    domains = {name: corpus.domain_ids("test", name) for name in used}
    test = tuple(sorted(i for ids in domains.values() for i in ids)) if domains else corpus.ids("test")
    return TaskSplit(
        dataset=corpus.name,
        data=corpus.fingerprint,
        scenario=scenario.name,
        order=order,
        tasks=tuple(tasks),
        test=test,
        protocol=protocol,
        domains=domains,
        order_of=order_of,
        parts=corpus.division,
    )


def increments(sizes: tuple[int, int], types: Sequence[str]) -> list[tuple[str, ...]]:
    """Return ``types`` cut into the first A, then B a step. Raises UserError if some types would be left over."""
    first, then = sizes
    rest = len(types) - first
    if first < 1 or then < 1 or rest < 0 or rest % then:
        cuts = [(a, b) for a in range(1, len(types)) for b in range(1, len(types) - a + 1) if not (len(types) - a) % b]
        cuts.sort(key=lambda cut: abs(cut[0] - first) + abs(cut[1] - then))
        fits = ", ".join(f"fg{a}-pg{b}" for a, b in cuts[:3])
        wanted = f"fg{first}-pg{then}"
        raise UserError(f"--scenario: {wanted} does not divide {len(types)} types; near it are {fits or 'none'}.")
    starts = [0, *range(first, len(types), then)]
    return [tuple(types[a:b]) for a, b in zip(starts, [*starts[1:], len(types)], strict=True)]


def _base_tasks(corpus: Corpus, scenario: Scenario, order: int) -> list[PlannedTask]:
    """Return the tasks in base order; with increments or ``add-one`` they already follow ``order``."""
    protocol = scenario.protocol
    if scenario.tasks:
        tasks = list(scenario.tasks)
    elif scenario.increments:
        types = _permuted(scenario.types or sorted(corpus.card.types), order)
        groups = increments(scenario.increments, types)
        tasks = [PlannedTask(g, g[0] if len(g) == 1 else f"step{k}") for k, g in enumerate(groups, 1)]
    elif scenario.add_one is not None:
        types = sorted(corpus.card.types)
        if len(types) < 2:
            raise UserError(f"--scenario {scenario.name}: {corpus.name} has one type; it needs one more than the new.")
        new = types.pop(order)
        tasks = [PlannedTask(tuple(types), f"all but {new}"), PlannedTask((new,), new, shots=scenario.add_one or None)]
    elif scenario.by_domain:
        present = {
            name: {m.type for s in _sentences(corpus, "train", name) for m in s.mentions} for name in corpus.domains
        }
        known = corpus.card.types
        tasks = [PlannedTask(tuple(t for t in known if t in present[name]), name, name) for name in corpus.domains]
        if not tasks:
            raise UserError(f"--scenario {scenario.name}: {corpus.name} is one corpus; it needs a union of several.")
    else:
        tasks = [PlannedTask(types, name) for name, types in corpus.card.tasks.items()]
    for task in tasks:
        if task.domain and task.domain not in corpus.domains:
            known_domains = ", ".join(corpus.domains) or "none"
            raise UserError(
                f"--scenario {scenario.name}: task {task.name!r}: {corpus.name} has no domain {task.domain!r}; "
                f"it has {known_domains}."
            )
        for type_ in task.types:
            if type_ not in corpus.card.types:
                raise UserError(f"--scenario {scenario.name}: task {task.name!r}: {corpus.name} has no type {type_!r}.")
    return [
        replace(task, sentences=task.sentences or protocol.sentences, shots=task.shots or protocol.shots)
        for task in tasks
    ]


def _assign(
    corpus: Corpus, scenario: Scenario, tasks: Sequence[PlannedTask], part: str, seed: int
) -> list[tuple[int, ...]]:
    """Return the ids of each task's sentences; a domain's sentences are dealt out among its own tasks only."""
    found: list[tuple[int, ...]] = [()] * len(tasks)
    for domain in dict.fromkeys(task.domain for task in tasks):
        own = [k for k, task in enumerate(tasks) if task.domain == domain]
        sentences, types = _sentences(corpus, part, domain), [tasks[k].types for k in own]
        match scenario.protocol.assign:
            case "random" if scenario.add_one is not None:
                chunks = assignment.without_slice([s.id for s in sentences], types, seed, part)
            case "random":
                chunks = assignment.at_random([s.id for s in sentences], [tasks[k].share for k in own], seed, part)
            case "filter":
                chunks = assignment.by_filter(sentences, types, seed)
            case _:
                chunks = assignment.greedy(sentences, types, seed)
        for k, ids in zip(own, chunks, strict=True):
            found[k] = ids
    return found


def _distinct_orders(data: Card | Corpus, scenario: str | Scenario) -> list[int]:
    """Return numbers of drawn orders that are different permutations: few tasks have few."""
    card = data.card if isinstance(data, Corpus) else data
    scenario = find_scenario(scenario, card) if isinstance(scenario, str) else scenario
    n_items = len(card.types) if scenario.increments else len(scenario.tasks or card.tasks)
    found: dict[tuple[int, ...], int] = {}
    for order in range(100):
        found.setdefault(tuple(_permuted(range(n_items), order)), order)
    return [*found.values()]


def _sentences(corpus: Corpus, part: str, domain: str) -> tuple[Sentence, ...]:
    if not domain:
        return corpus.used(part)
    return tuple(corpus.parts[part][i] for i in corpus.domain_ids(part, domain))


def _numbers(corpus: Corpus, scenario: Scenario, order: int, n_tasks: int) -> Sequence[int]:
    """Return the numbers of the base tasks in learning order."""
    if scenario.increments or scenario.add_one is not None:
        return range(n_tasks)
    given = scenario.orders if scenario.own_tasks else corpus.card.orders
    if order == TUNING:
        return _other_order(n_tasks, given)
    return given[order] if given else _permuted(range(n_tasks), order)


def _other_order(n_tasks: int, known: Collection[Sequence[int]]) -> list[int]:
    """Return the first drawn permutation that is neither the base order nor a known one.

    Raises UserError if it finds none, because few tasks have few permutations.
    """
    used = {tuple(range(n_tasks)), *map(tuple, known)}
    for k in range(1000):
        if tuple(found := _permuted(range(n_tasks), TUNING + k)) not in used:
            return found
    raise UserError(
        f"--scenario: {n_tasks} task(s) in {len(used)} known order(s) leave no order that is of `bench tune` alone; "
        "give other tasks (--tasks)"
    )


def _check(order: int, n: int | None) -> None:
    if order == TUNING:
        return
    if order < 0 or (n is not None and order >= n):
        known = "0 and up" if n is None else f"0..{n - 1}"
        raise UserError(f"--orders: no order {order}; the dataset has {known}.")


def _permuted(items: Sequence[T], order: int) -> list[T]:
    permuted = list(items)
    if order:
        Random(order).shuffle(permuted)
    return permuted
