"""The facts about a corpus and a task split as plain text, for `bench data show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cl_ner_bench.cli.output import table, wrapped
from cl_ner_bench.corpora.sentence import PARTS
from cl_ner_bench.scenarios.statistics import without_task_text

Facts = Mapping[str, Any]


def as_text(facts: Facts) -> str:
    """Return the result of ``scenarios.statistics.overview`` as plain text."""
    return "\n\n".join(block for block in (*_corpus_blocks(facts), *_split_blocks(facts)) if block) + "\n"


def _corpus_blocks(facts: Facts) -> Iterator[str]:
    yield f"{facts['title']} ({facts['dataset']})"
    named = [(key, facts[key]) for key in ("source", "licence", "citation", "how_to_get") if facts[key]]
    yield "\n".join(_fact(key.replace("_", " "), text) for key, text in named)
    yield "\n".join(_fact("note", remark) for remark in (*facts["remarks"], *facts["differences"]))
    if facts["sample_of"]:
        sizes = ", ".join(
            f"{facts['parts'][part]['sentences']:,} of {n:,} {part}" for part, n in facts["sample_of"].items()
        )
        yield _fact("sample", f"all counts below are of a random sample (--max-sentences): {sizes} sentences")
    header = ["part", "sentences", "words", "mentions", "nested", "without mentions", "longest"]
    yield table(header, [[part, *counts.values()] for part, counts in facts["parts"].items()])
    if facts["flat_recall"] < 1:
        yield (
            f"flat predictions can find at most {100 * facts['flat_recall']:.1f} % of the test mentions: "
            "the others overlap"
        )
    if facts["lost_mentions"]:
        limit = facts["protocol"]["max_words"]
        yield f"the limit of {limit} words drops {facts['lost_mentions']:,} test mentions"
    if facts["domains"]:
        yield _by_part("sentences by domain", facts["domains"])
    if facts["without_task"]:
        yield "\n".join(wrapped(without_task_text(facts["without_task"], facts["n_mentions"]), 12))
    yield _by_part("mentions by task", facts["tasks"])


def _split_blocks(facts: Facts) -> Iterator[str]:
    steps, both = facts["steps"], facts["co_occurrence"]
    yield table(["mentions by type", "task", *PARTS], [[t, *row.values()] for t, row in facts["types"].items()])
    protocol = ", ".join(f"{name} {value}" for name, value in facts["protocol"].items() if value)
    yield (
        f"scenario {facts['scenario']}, order {facts['order']}, split {facts['split'][:8]}\n"
        f"{_fact('protocol', protocol)}\n"
        "hidden: train mentions of other steps' types, present but not labelled in the step"
    )
    named = ("step", "task", "train_sentences", "dev_sentences")
    yield table(
        ["step", "task", "train", "dev", "labelled", "hidden"],
        [[*(row[n] for n in named), sum(row["labelled"].values()), sum(row["hidden"].values())] for row in steps],
    )
    yield "train mentions of each type by step: [labelled], hidden"
    yield table(
        ["type", "labelled at", *(str(row["step"]) for row in steps)],
        [
            [type_, ", ".join(map(str, at)), *(_labelled_or_hidden(row, type_) for row in steps)]
            for type_, at in facts["labelled_at"].items()
        ],
    )
    yield (
        f"train sentences with two or more types {100 * both['two_types']:.1f} %, "
        f"tasks {100 * both['two_tasks']:.1f} %\nthose that name both tasks (columns by step):"
    )
    yield table(
        ["step", "task", *map(str, range(1, len(both["tasks"]) + 1))],
        [[k, name, *row] for k, (name, row) in enumerate(zip(both["tasks"], both["matrix"], strict=True), 1)],
    )


def _by_part(title: str, rows: Mapping[str, Any]) -> str:
    return table([title, *PARTS], [[name, *(row[part] for part in PARTS)] for name, row in rows.items()])


def _labelled_or_hidden(row: Mapping[str, Any], type_: str) -> str:
    return f"[{row['labelled'][type_]:,}]" if type_ in row["labelled"] else f"{row['hidden'][type_]:,}"


def _fact(name: str, text: str) -> str:
    return "\n".join(wrapped(f"{name:<12}{text}", 12))
