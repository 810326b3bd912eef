"""Assignments of sentences to tasks: the three of the field, and functions that reduce or mix them.

An assignment takes sentences in file order and tasks in base order, and returns the ids of each task's sentences in
file order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from random import Random

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.scenarios.protocol import PlannedTask

Ids = tuple[int, ...]


def at_random(ids: Sequence[int], shares: Sequence[float], seed: int, part: str = "train") -> list[Ids]:
    """Return ``ids``, shuffled and cut into consecutive chunks in proportion to ``shares``. The last chunk takes the
    remainder.

    With equal shares this is the rule of SpanKL's code (arXiv 2302.12200): Python's ``random``, chunks of ``N // T``.
    Sentences without mentions stay: they are a task's true negatives.
    Raises UserError if there are fewer sentences than tasks.
    """
    if len(ids) < len(shares):
        raise UserError(
            f"{len(ids)} {part} sentences cannot be split among {len(shares)} tasks; give more, or fewer tasks."
        )
    shuffled = list(ids)
    Random(seed).shuffle(shuffled)
    exact = [Fraction(str(share)) for share in shares]
    sizes = [int(len(ids) * share / sum(exact)) for share in exact]
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    ends = [*starts[1:], len(shuffled)]
    return [tuple(sorted(shuffled[start:end])) for start, end in zip(starts, ends, strict=True)]


def without_slice(ids: Sequence[int], tasks: Sequence[Sequence[str]], seed: int, part: str = "train") -> list[Ids]:
    """Return ``ids`` without the newcomer's slice, and the slice. ``tasks`` holds the other types, then the newcomer.

    ``at_random`` would give the newcomer this slice if each type were a task, in alphabetical order. So a slice
    is a type's share of the sentences, and slices of two types have no sentence in common.
    """
    (*_, (new,)) = tasks
    types = sorted(t for types in tasks for t in types)
    chunks = at_random(ids, [1.0] * len(types), seed, part)
    own = chunks.pop(types.index(new))
    return [tuple(sorted(i for chunk in chunks for i in chunk)), own]


def holding(sentences: Iterable[Sentence], types: Collection[str]) -> Ids:
    """Return the ids of the sentences with at least one mention of ``types``."""
    return tuple(s.id for s in sentences if any(m.type in types for m in s.mentions))


def by_filter(sentences: Sequence[Sentence], tasks: Sequence[Collection[str]], seed: int) -> list[Ids]:
    """Return for each task every sentence that holds a mention of its types (SpanKL, arXiv 2302.12200, appendix).

    A sentence may occur in several tasks; a sentence without mentions occurs in none. If a type comes back, its
    sentences are dealt out at random among the tasks that label it, so it comes back with other data.
    """
    homes: defaultdict[str, list[int]] = defaultdict(list)
    for k, types in enumerate(tasks):
        for type_ in types:
            homes[type_].append(k)
    found: list[list[int]] = [[] for _ in tasks]
    rng = Random(seed)
    for sentence in sentences:
        present = sorted({m.type for m in sentence.mentions if m.type in homes})
        for k in sorted({homes[t][0] if len(homes[t]) == 1 else rng.choice(homes[t]) for t in present}):
            found[k].append(sentence.id)
    return [tuple(ids) for ids in found]


def greedy(sentences: Sequence[Sentence], tasks: Sequence[Collection[str]], seed: int) -> list[Ids]:
    """Return disjoint slices; each sentence is assigned by its rarest type (CFNER, EMNLP 2022).

    Task k may hold ``int(N * its types / all types)`` sentences. In file order, a sentence goes to the first task with
    room that labels its rarest type (by mentions), else its next rarest type, and so on. Otherwise it goes to a random
    task with room, else nowhere. The published code seeds nothing here; we seed the random tasks.
    """
    frequency = Counter(m.type for s in sentences for m in s.mentions)
    n_types = sum(len(types) for types in tasks)
    room = [int(len(sentences) * len(types) / n_types) for types in tasks]
    taken: list[list[int]] = [[] for _ in tasks]
    rng = Random(seed)
    known = {t for types in tasks for t in types}
    for sentence in sentences:
        present = sorted({m.type for m in sentence.mentions} & known, key=lambda t: (frequency[t], t))
        free = [k for k, size in enumerate(room) if len(taken[k]) < size]
        wanted = [k for t in present for k in free if t in tasks[k]]
        if free:
            taken[wanted[0] if wanted else rng.choice(free)].append(sentence.id)
    return [tuple(ids) for ids in taken]


def blurred(assigned: Sequence[Ids], domains: Sequence[str], share: float, seed: int) -> list[Ids]:
    """Return each task's sentences, and ``round(share * their number)`` random sentences of the other tasks of its
    domain.
    """
    out = []
    for k, own in enumerate(assigned):
        same = [ids for j, ids in enumerate(assigned) if j != k and domains[j] == domains[k]]
        others = sorted({i for ids in same for i in ids} - set(own))
        further = Random(f"{seed}/blurry/{k}").sample(others, min(round(share * len(own)), len(others)))
        out.append(tuple(sorted({*own, *further})))
    return out


def few(sentences: Sequence[Sentence], task: PlannedTask, seed: int) -> Ids:
    """Return a task's sentences within its budget: at most ``task.sentences``, and ``task.shots`` mentions a type.

    Sentences are drawn at random. For shots, a sentence is taken if it holds a type that still lacks mentions, so a
    type may end with more than ``task.shots`` (the usual N-way K-shot sampling).
    """
    drawn = list(sentences)
    Random(f"{seed}/few/{task.name}").shuffle(drawn)
    if task.shots is not None:
        have: Counter[str] = Counter()
        enough, drawn_all, drawn = task.shots, drawn, []
        for sentence in drawn_all:
            types = [m.type for m in sentence.mentions if m.type in task.types]
            if any(have[t] < enough for t in types):
                have.update(types)
                drawn.append(sentence)
    return tuple(sorted(s.id for s in drawn[: task.sentences]))
