"""Facts about a corpus and a task split, as `bench data show` prints them, and one row per test mention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from cl_ner_bench.corpora.sentence import PARTS, Corpus, Sentence
from cl_ner_bench.scenarios.protocol import ADD_ONE

if TYPE_CHECKING:
    from cl_ner_bench.scenarios.task import Task, TaskSplit

MENTION_COLUMNS = (
    "dataset",
    "split",
    "id",
    "start",
    "end",
    "type",
    "train_freq_surface",
    "train_freq_type",
    "seen",
    "hidden_rate",
)


def overview(corpus: Corpus, split: TaskSplit) -> dict[str, Any]:
    """Return the facts of a corpus under a split, ready for JSON.

    ``steps`` counts, for each step and each type, the mentions in the step's train sentences: ``labelled`` ones, and
    ``hidden`` ones (present, but not labelled in this step: the unlabelled-entity problem). A type that comes back
    belongs to its first task; ``labelled_at`` lists all its steps. ``co_occurrence`` gives the share of train sentences
    with two or more types (tasks), and for each pair of tasks the number of train sentences that name types of both
    (on the diagonal, of the one task).
    """
    card, used = corpus.card, {part: corpus.used(part) for part in PARTS}
    task_of = {t: task.name for task in reversed(split.tasks) for t in task.types}
    task_of = {t: task_of[t] for t in split.types(split.n_steps)}
    names = [task.name for task in split.tasks]
    by_type = corpus.type_counts
    own = {domain: {part: _of_domain(corpus, part, domain) for part in PARTS} for domain in ("", *split.domains)}
    by_domain = {
        domain: {part: Counter(m.type for s in sentences for m in s.mentions) for part, sentences in parts.items()}
        for domain, parts in own.items()
    }
    present = [{m.type for m in s.mentions if m.type in task_of} for s in used["train"]]
    naming = [{s.id for s in own[t.domain]["train"] if any(m.type in t.types for m in s.mentions)} for t in split.tasks]
    several = Counter(i for ids in naming for i in ids)
    n = max(len(present), 1)
    steps = []
    for k, task in enumerate(split.tasks, 1):
        train = [split.sentence(corpus, "train", i) for i in task.train]
        found = Counter(m.type for s in train for m in s.mentions)
        allowed = split.train_types(k)
        steps.append(
            {
                "step": k,
                "task": task.name,
                "domain": task.domain,
                "train_sentences": len(task.train),
                "dev_sentences": len(task.dev),
                "labelled": {t: found[t] for t in allowed},
                "hidden": {t: found[t] for t in task_of if t not in allowed},
            }
        )
    return {
        "schema": 1,
        "dataset": corpus.name,
        "title": card.title,
        "source": corpus.source,
        "licence": card.licence,
        "citation": card.citation,
        "how_to_get": card.how_to_get,
        "remarks": list(corpus.remarks),
        "differences": [difference.text for difference in corpus.differences],
        "orders": len(card.orders),
        "scenario": split.scenario,
        "order": split.order,
        "split": split.hash,
        "protocol": msgspec.structs.asdict(split.protocol),
        "labelled_at": split.labelled_at,
        "fingerprint": corpus.fingerprint,
        "sample_of": None if corpus.sample is None else {part: len(corpus.parts[part]) for part in PARTS},
        "parts": {part: _counts(used[part]) for part in PARTS},
        "lost_mentions": split.lost_mentions(corpus),
        "flat_recall": recall_ceiling(split.test_part(corpus, split.n_steps)),
        "domains": {
            domain: {part: len(sentences) for part, sentences in own[domain].items()} for domain in split.domains
        },
        "without_task": without_task(corpus, split),
        "n_mentions": corpus.n_mentions,
        "types": {t: {"task": task_of[t]} | {part: by_type[part][t] for part in PARTS} for t in task_of},
        "tasks": {
            task.name: {"types": list(task.types)}
            | {part: sum(by_domain[task.domain][part][t] for t in task.types) for part in PARTS}
            for task in split.tasks
        },
        "steps": steps,
        "co_occurrence": {
            "two_types": sum(len(types) > 1 for types in present) / n,
            "two_tasks": sum(tasks > 1 for tasks in several.values()) / n,
            "tasks": names,
            "matrix": [[len(a & b) for b in naming] for a in naming],
        },
    }


def without_task(corpus: Corpus, split: TaskSplit) -> dict[str, Mapping[str, int]]:
    """Return the mentions, by type and part, of the types that no task learns; they count as O."""
    unlearned = set(corpus.card.types).difference(split.types(split.n_steps))
    found = {t: {part: corpus.type_counts[part][t] for part in PARTS} for t in unlearned}
    return dict(sorted({**corpus.dropped, **found}.items()))


def without_task_text(found: Mapping[str, Mapping[str, int]], n_mentions: Mapping[str, int]) -> str:
    """Return the result of ``without_task`` as one sentence, types with most train mentions first.

    ``n_mentions`` are all mentions of the corpus by part.
    """
    by_size = sorted(found.items(), key=lambda item: -item[1]["train"])
    types = ", ".join(f"{type_} {' / '.join(f'{n[part]:,}' for part in n_mentions)}" for type_, n in by_size)
    shares = [f"{sum(counts[part] for counts in found.values()):,} of {n:,} {part}" for part, n in n_mentions.items()]
    return f"types in no task ({' / '.join(n_mentions)} mentions, which count as O): {types}; {', '.join(shares)}"


def corpus_notes(corpus: Corpus, *splits: TaskSplit) -> list[str]:
    """Return the notes that a user must read before a run on a corpus and its task splits (one for each order):
    remarks, differences, types in no task, orders that are the same, newcomers with fewer mentions than asked for."""
    missing = without_task(corpus, splits[0])
    more = [without_task_text(missing, corpus.n_mentions)] if missing else []
    more += equal_orders(splits) + fewer_shots(corpus, splits)
    return [*corpus.remarks, *(difference.text for difference in corpus.differences), *more]


def equal_orders(splits: Iterable[TaskSplit]) -> list[str]:
    """Return notes on orders that are the same permutation: orders are drawn, and few tasks have few permutations."""
    found: dict[tuple[Task, ...], list[str]] = {}
    for split in splits:
        found.setdefault(split.tasks, []).append(str(split.order))
    return [
        f"orders {' and '.join(same)} are the same permutation of the tasks: "
        f"together they are one order, not {len(same)}"
        for same in found.values()
        if len(same) > 1
    ]


def fewer_shots(corpus: Corpus, splits: Iterable[TaskSplit]) -> list[str]:
    """Return a note on the newcomers of `add-one-kN` whose slice holds fewer than N mentions, if there are any."""
    found: dict[str, int] = {}
    asked = 0
    for split in splits:
        if match := ADD_ONE.fullmatch(split.scenario):
            asked, new = int(match[1] or 0), split.tasks[-1]
            (type_,) = new.types
            n = sum(m.type == type_ for i in new.train for m in corpus.parts["train"][i].mentions)
            if n < asked:
                found[type_] = n
    texts = ", ".join(f"{type_} {n}" for type_, n in found.items())
    return [f"fewer than {asked} mentions of the new type, because its slice holds no more: {texts}"] if found else []


def mention_rows(corpus: Corpus, split: TaskSplit) -> Iterator[dict[str, Any]]:
    """Yield one row (``MENTION_COLUMNS``) per test mention of a learned type, by sentence.

    Train mentions are those of the train sentences of all tasks; a sentence counts once for each task that it is given
    to. A train mention is *labelled* if its step labels its type.

    - ``train_freq_surface``: labelled train mentions with the same words and type;
    - ``train_freq_type``: labelled train mentions of the type;
    - ``seen``: 1 if ``train_freq_surface`` > 0, else 0;
    - ``hidden_rate``: the share of the type's train mentions that are not labelled; None without train mentions.

    The column ``split`` holds the split's hash.
    """
    surfaces: Counter[tuple[str, tuple[str, ...]]] = Counter()
    labelled: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for step, task in enumerate(split.tasks, 1):
        allowed = split.train_types(step)
        for i in task.train:
            sentence = split.sentence(corpus, "train", i)
            for start, end, type_ in sentence.mentions:
                total[type_] += 1
                if type_ in allowed:
                    labelled[type_] += 1
                    surfaces[type_, sentence.words[start:end]] += 1
    for sentence in sorted(split.test_part(corpus, split.n_steps), key=lambda s: s.id):
        for start, end, type_ in sentence.mentions:
            frequency = surfaces[type_, sentence.words[start:end]]
            hidden = 1 - labelled[type_] / total[type_] if total[type_] else None
            row = (corpus.name, split.hash, sentence.id, start, end, type_, frequency, labelled[type_])
            yield dict(zip(MENTION_COLUMNS, (*row, int(frequency > 0), hidden), strict=True))


def recall_ceiling(sentences: Iterable[Sentence], nested: bool = False, width: int = 0) -> float:
    """Return the highest possible recall (0..1) of predictions of at most ``width`` words (0: of any width).

    Unless ``nested``, predictions do not overlap. Taking mentions by their ends, the earliest first, gives the largest
    set without overlap.
    """
    total = found = 0
    for sentence in sentences:
        total += len(sentence.mentions)
        free = 0
        for mention in sorted(sentence.mentions, key=lambda m: m.end):
            narrow = not width or mention.end - mention.start <= width
            if narrow and (nested or mention.start >= free):
                found, free = found + 1, mention.end
    return found / total if total else 1.0


def _of_domain(corpus: Corpus, part: str, domain: str) -> tuple[Sentence, ...]:
    """Return the sentences in use of one domain, or of all if ``domain`` is empty."""
    return tuple(corpus.parts[part][i] for i in (corpus.domain_ids(part, domain) if domain else corpus.ids(part)))


def _nested(sentence: Sentence) -> int:
    """Return the number of mentions inside another one; of mentions with the same span, all but one count."""
    reached = nested = 0
    for _, end, _ in sorted(sentence.mentions, key=lambda m: (m.start, -m.end)):
        nested += end <= reached
        reached = max(reached, end)
    return nested


def _counts(sentences: Collection[Sentence]) -> dict[str, int]:
    rows = [(len(s.words), len(s.mentions)) for s in sentences]
    return {
        "sentences": len(rows),
        "words": sum(words for words, _ in rows),
        "mentions": sum(mentions for _, mentions in rows),
        "nested": sum(map(_nested, sentences)),
        "without_mentions": sum(mentions == 0 for _, mentions in rows),
        "longest": max((words for words, _ in rows), default=0),
    }
