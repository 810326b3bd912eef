"""The model card of an exported model, in the form of the Hugging Face hub: front matter and Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cl_ner_bench.analysis.scores.scorer import f1
from cl_ner_bench.errors import counted, printable
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.storage.model_folder import ExportedModel, LearnedStep, ModelRecord

_MINILM = "sentence-transformers/all-MiniLM-L6-v2"  # the encoder in the package of the offline encoder
_TAGS = ("token-classification", "named-entity-recognition", "continual-learning", "cl_ner_bench")


def model_card(found: ExportedModel, card: MethodCard) -> str:
    """Return the content of ``README.md``. Names from data and users appear unchanged and are never markup."""
    parts = (_front_matter(found), _title(found), _loading(found), _steps(found.model), _scores(found.model))
    rest = (_method(found.model, card), _use(found.model, card), _data(found.model), _origin(found.model))
    return "\n\n".join("\n".join(part) for part in (*parts, *rest)) + "\n"


def _front_matter(found: ExportedModel) -> Iterator[str]:
    """Yield the lines of YAML, without unknown facts (language, licence)."""
    yield "---"
    yield f"library_name: {'cl_ner_bench' if found.pipeline else 'transformers'}"
    if not found.pipeline:
        yield "pipeline_tag: token-classification"
    yield from _yaml("tags", _TAGS)
    identity = found.model.encoder_identity
    if identity and identity.source == "hub":
        yield from _yaml("base_model", [str(identity.repository)])
    elif identity and identity.source == "package":
        yield from _yaml("base_model", [_MINILM])
    yield from _yaml("datasets", dict.fromkeys(step.hub for step in found.model.history if step.hub))
    yield "---"


def _yaml(key: str, values: Iterable[str]) -> Iterator[str]:
    listed = [f"- {json.dumps(printable(value))}" for value in values]
    if listed:
        yield f"{key}:"
        yield from listed


def _title(found: ExportedModel) -> Iterator[str]:
    model, types = found.model, [type for types in found.learner.types for type in types]
    yield f"# Named entities of {counted(len(types), 'type')}"
    yield ""
    yield f"A {model.architecture} model that finds mentions of {', '.join(map(_code, types))}."
    yield (
        f"It learned them in {counted(len(model.history), 'step')}, the last by the method {_code(model.method)}, from "
        f"the encoder {_code(model.encoder)}."
    )


def _loading(found: ExportedModel) -> Iterator[str]:
    own = ', method="FILE.py"' if ".py" in found.model.spec else ""
    yield "## How to load it"
    yield ""
    yield "```python"
    yield "from cl_ner_bench import load_model"
    yield f'model = load_model("PATH/OF/THIS/FOLDER"{own})'
    yield 'model.predict(["Ada Lovelace wrote to London."])'
    yield "```"
    yield ""
    if own:
        yield f"The method is of a file of its author's, {_code(found.model.spec)}, which is not part of this folder."
        yield ""
    if found.pipeline:
        yield f"transformers does not load it: {_text(found.pipeline)}."
        return
    yield "```python"
    yield "from transformers import pipeline"
    yield 'find = pipeline("token-classification", "PATH/OF/THIS/FOLDER", aggregation_strategy="first")'
    yield 'find("Ada Lovelace wrote to London.")'
    yield "```"
    yield ""
    yield "The pipeline reads each word's first sub-token, as the model does. It takes the best tag of each word, where"
    yield "`load_model` takes the best sequence of tags that is legal BIO; its score is a mean, not a product. It reads"
    yield "a text as one sentence, and drops what exceeds the limit of the encoder; `load_model` cuts at sentences."


def _steps(model: ModelRecord) -> Iterator[str]:
    yield "## What it learned"
    yield ""
    yield "| step | types | data | train sentences | method |"
    yield "|---|---|---|---|---|"
    for step in model.history:
        types = ", ".join(map(_code, step.types))
        sentences = "unknown" if step.sentences is None else f"{step.sentences:,}"
        yield f"| {step.step} | {types} | {_code(step.dataset)} | {sentences} | {_code(step.method)} |"


def _scores(model: ModelRecord) -> Iterator[str]:
    yield "## Scores"
    yield ""
    if not model.counts:
        yield from _changes(model.history[-1])
        return
    yield f"After step {model.history[-1].step}, on all test sentences: exact match of start, end and type, in 0..100."
    for test_set, types in model.counts.items():
        yield ""
        yield f"| test set {_code(test_set)} | F1 | precision | recall | mentions |"
        yield "|---|---|---|---|---|"
        for type, triple in types.items():
            yield _row(_code(type), triple)
        yield _row("all types (micro)", [sum(column) for column in zip(*types.values(), strict=True)])
    yield ""
    yield from (f"- {_text(note)}" for note in ("one run, one seed: no claim about the method", *model.notes))


def _changes(step: LearnedStep) -> Iterator[str]:
    """Yield the scores and agreements of a step outside a benchmark, on its own data, before and after the step."""
    if not any(score.part == "test" for score in step.scores):
        yield "After its last step the model was not scored on a test set."
    if step.scores:
        yield ""
        yield f"On the labels of {_code(step.dataset)}, the data of the last step: exact match of start, end and type."
        if any(score.part == "dev" for score in step.scores):
            yield "Dev may have chosen the epoch, and is too high then."
        yield ""
        yield "| part of its data | type | mentions | F1 before the last step | F1 after it |"
        yield "|---|---|---|---|---|"
    for score in step.scores:
        before = "new" if score.before is None else f"{score.before:.1f}"
        yield f"| {_code(score.part)} | {_code(score.type)} | {score.gold:,} | {before} | {score.after:.1f} |"
    if step.agreements:
        yield ""
        yield "Types that the step did not learn: how many mentions the model finds before the last step, after it,"
        yield "and both times. F1 takes those from before for right: it is agreement, not a score."
        yield ""
        yield "| part of its data | type | before | after | both | F1 |"
        yield "|---|---|---|---|---|---|"
    for of in step.agreements:
        same = "undefined" if of.f1 is None else f"{of.f1:.1f}"
        yield f"| {_code(of.part)} | {_code(of.type)} | {of.old:,} | {of.new:,} | {of.both:,} | {same} |"


def _row(name: str, triple: Sequence[int]) -> str:
    tp, fp, fn = triple
    values = f1(tp, fp, fn), _share(tp, tp + fp), _share(tp, tp + fn)
    shown = ["undefined" if math.isnan(value) else f"{value:.1f}" for value in values]
    return f"| {name} | {' | '.join(shown)} | {tp + fn:,} |"


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else math.nan


def _method(model: ModelRecord, card: MethodCard) -> Iterator[str]:
    yield "## Method"
    yield ""
    yield f"{_text(card.label)}: {_text(card.summary) or 'no summary.'}"
    for title, text in (("Paper", card.paper), ("Status", card.status), ("Deviations", card.deviations)):
        if text:
            yield f"\n{title}: {_text(text)}"
    if card.stores and card.stores != "nothing":
        yield f"\nThe method keeps from step to step: {_text(card.stores)}"
    yield ""
    yield "| setting | value |"
    yield "|---|---|"
    shared = {key: value for key, value in model.settings.items() if key != "method"}
    for key, value in (*model.settings["method"].items(), *shared.items()):
        yield f"| {_code(key)} | {_code(json.dumps(value, ensure_ascii=False))} |"


def _use(model: ModelRecord, card: MethodCard) -> Iterator[str]:
    yield "## Intended use and limits"
    yield ""
    yield "Made to find mentions in text like that of its train sentences: in that language and of that kind. It was"
    yield "tested on nothing else, and finds no types but those above."
    if len(model.history) > 1 and card.data == "task":
        yield "The types were learned one step after another, and in each step only that step's were labelled: the"
        yield "model may have forgotten part of what it learned first. The scores above are those after the last step."
    yield "It repeats what its data and its encoder got wrong or left out. Do not decide about people by it alone."


def _data(model: ModelRecord) -> Iterator[str]:
    yield "## Data"
    yield ""
    yield "The folder holds no sentence of the data, unless the method keeps text in its weights, as said above."
    for name, sha256, licence in dict.fromkeys((s.dataset, s.data, s.licence) for s in model.history):
        yield f"- {_code(name)}: sha256 of sentences and labels {_code(sha256)};"
        yield f"  licence of the data: {_text(licence) or 'unknown, ask who made it'}"


def _origin(model: ModelRecord) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    yield "By cl_ner_bench, the benchmark suite for continual named entity recognition;"
    yield f"seed {model.seed}{f', run {_code(model.run_id)}' if model.run_id else ''}."
    for name, sha256 in model.fingerprints.items():
        yield f"- sha256 of the {_text(name)}: {_code(sha256)}"
    yield f"- versions: {_text(', '.join(f'{name} {number}' for name, number in model.versions.items())) or 'unknown'}"


def _code(value: Any) -> str:
    """Return a name as code for a cell of a table, or "unknown" for an empty name."""
    text = " ".join(printable(str(value)).split()).replace("|", "\\|")
    if not text:
        return "unknown"
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _text(text: str) -> str:
    """Return text that Markdown does not read as markup."""
    plain = " ".join(printable(text).split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in plain)
