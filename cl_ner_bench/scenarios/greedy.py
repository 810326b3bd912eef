"""The scenario ``fgA-pgB``: A types first, then B a step (CFNER, EMNLP 2022: FG-a-PG-b)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from random import Random

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.errors import UserError

NAME = re.compile(r"fg(\d+)-pg(\d+)")


def groups(scenario: str, types: Sequence[str]) -> list[tuple[str, ...]]:
    """``types`` cut into the steps of ``fgA-pgB``. Raises UserError where they do not divide."""
    match = NAME.fullmatch(scenario)
    if match is None:
        raise ValueError(scenario)
    first, then = int(match[1]), int(match[2])
    rest = len(types) - first
    if first < 1 or then < 1 or rest < 0 or rest % then:
        cuts = [(a, b) for a in range(1, len(types)) for b in range(1, len(types) - a + 1) if not (len(types) - a) % b]
        cuts.sort(key=lambda cut: abs(cut[0] - first) + abs(cut[1] - then))
        fits = ", ".join(f"fg{a}-pg{b}" for a, b in cuts[:3])
        raise UserError(f"--scenario: {scenario} does not divide {len(types)} types; near it are {fits or 'none'}.")
    starts = [0, *range(first, len(types), then)]
    return [tuple(types[a:b]) for a, b in zip(starts, [*starts[1:], len(types)], strict=True)]


def slices(sentences: Sequence[Sentence], steps: Sequence[tuple[str, ...]], seed: int) -> list[tuple[int, ...]]:
    """Disjoint slices of the train sentences, greedily by their rarest type.

    Step k may hold ``int(N * its types / all types)`` sentences. In file order, a sentence goes to the step
    of its rarest type (by mentions in train) that still has room, else to a random step with room, else
    nowhere. The published code seeds nothing here; we seed the random steps.
    """
    frequency = Counter(m.type for s in sentences for m in s.mentions)
    step_of = {type_: k for k, types in enumerate(steps) for type_ in types}
    room = [int(len(sentences) * len(types) / len(step_of)) for types in steps]
    taken: list[list[int]] = [[] for _ in steps]
    rng = Random(seed)
    for sentence in sentences:
        present = sorted({m.type for m in sentence.mentions} & step_of.keys(), key=lambda t: (frequency[t], t))
        wanted = [step_of[t] for t in present if len(taken[step_of[t]]) < room[step_of[t]]]
        if not wanted:
            free = [k for k in range(len(steps)) if len(taken[k]) < room[k]]
            wanted = [rng.choice(free)] if free else []
        if wanted:
            taken[wanted[0]].append(sentence.id)
    return [tuple(ids) for ids in taken]
