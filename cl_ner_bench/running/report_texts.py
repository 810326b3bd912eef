"""The text of a corpus for `bench report --examples` and `--texts`, because stored results hold only ids.

Functions read the corpus again and compare its fingerprint with that of the run. The written files quote the corpus, so
they name its licence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_ner_bench.analysis.data.frames import Results
from cl_ner_bench.corpora.card import FORBIDS_SHARING
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.load import load_corpus
from cl_ner_bench.corpora.sentence import Corpus, Sentence
from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.files import gzipped, ordered, write_bytes
from cl_ner_bench.storage.run_folder import RunFolder
from cl_ner_bench.storage.run_record import RunRecord
from cl_ner_bench.untrusted import refuse_links_out, unpacked

FOLDER = "texts"
Rows = Mapping[int, Mapping[str, Any]]  # rows of a step's predictions, by sentence id
_README = """\
# Predictions with their words

A file per run, a line per test sentence:
`{"id", "words", "gold": [[start, end, type, text]...], "after": {"1": [[start, end, type, text]...], ...}}`.
`gold` are the mentions of all types learned by the last step, `after` those predicted after each step; `end` is
exclusive.
"""


def write_texts(results: Results, out: Path, data: Path | None = None) -> str:
    """Write the predictions of every finished run with their words, below ``out``. Return a summary in a few lines.

    ``data`` is the place of the corpus if it was moved. Raise UserError if the corpus is missing or has changed.
    """
    corpora = corpora_of(results.finished, data, "--texts")
    folder = out / FOLDER
    if folder.exists():
        refuse_links_out(out)  # else a write could go through a link
    size = 0
    for run in results.finished:
        test = corpora[text_of(run)].parts["test"]
        content = gzipped(ordered(row) for row in _rows(run, results.folders[run.run_id], test))
        write_bytes(folder / f"{run.run_id}.jsonl.gz", content)
        size += len(content)
    marks = [f"> **{warning}** {text}" if warning else f"> {text}" for warning, text in licences(corpora.values())]
    write_bytes(folder / "README.md", "\n".join([_README, *marks, ""]).encode())
    told = [" ".join(filter(None, pair)) for pair in licences(corpora.values())]
    head = f"predictions with their words: {len(results.finished)} files, {size / 1e6:,.1f} MB"
    return "\n".join([head, *(f"  {line}" for line in (*told, str(folder)))])


def _rows(run: RunRecord, folder: RunFolder, test: Sequence[Sentence]) -> Iterator[dict[str, Any]]:
    """Yield a row for each sentence that is scored after the last step."""
    stored = {step: predictions(folder, step) for step in run.steps}
    for id_, last in stored[run.n_steps].items():
        words = test[id_].words

        def named(mentions: Iterable[Sequence[Any]], words: Sequence[str] = words) -> list[list[Any]]:
            return [[start, end, type_, " ".join(words[start:end])] for start, end, type_, *_ in mentions]

        after = {str(step): named(rows[id_]["pred"]) for step, rows in stored.items() if id_ in rows}
        yield {"id": id_, "words": words, "gold": named(last["gold"]), "after": after}


def predictions(folder: RunFolder, step: int) -> Rows:
    """Return the rows of a step by sentence id. Reading the outcomes has already checked the file."""
    lines = unpacked(folder.predictions_file(step).read_bytes()).splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def text_of(run: RunRecord) -> tuple[Any, ...]:
    """Return the values that decide which text a run has read."""
    inputs, settings = run.inputs, run.settings
    return (
        *(inputs.get(key) for key in ("dataset", "data", "tasks")),
        *(settings.get("max_sentences"), settings.get("split_seed", 1)),
        Division.of(inputs.get("parts"), f"run {run.run_id}"),
        run.fingerprints.get("data"),
    )


def corpora_of(runs: Sequence[RunRecord], data: Path | None, flag: str) -> Mapping[tuple[Any, ...], Corpus]:
    """Return the corpora of runs by ``text_of``. ``flag`` is the option of `bench report` that needs them.

    ``data`` is the place of the corpus if it was moved. Raise UserError if a corpus is missing or has changed.
    """
    keys = {text_of(run): run for run in runs}
    if data is not None and len({key[0] for key in keys}) > 1:
        names = ", ".join(sorted({str(key[0]) for key in keys}))
        raise UserError(f"--data {data}: the results are of several corpora ({names}): report their folders apart")
    return {key: _corpus(key, run, data, flag) for key, run in keys.items()}


def _corpus(key: tuple[Any, ...], run: RunRecord, data: Path | None, flag: str) -> Corpus:
    dataset, place, tasks, max_sentences, split_seed, parts, fingerprint = key
    if not isinstance(dataset, str) or not isinstance(place, str | None) or not isinstance(tasks, str | None):
        raise UserError(f"{flag}: the record of run {run.run_id} does not say which corpus it read")
    if data is None and place is not None:
        data = Path(place)
        if not data.exists():
            raise UserError(
                f"{flag}: the text of {run.dataset} is not at {data}, where it was learned from: "
                "say where it lies with --data PATH"
            )
    try:
        corpus = load_corpus(dataset, data, tasks, max_sentences, split_seed, parts)
    except UserError as error:
        raise UserError(f"{flag} needs the text of {run.dataset}: {error}") from error
    if corpus.fingerprint != fingerprint:
        raise UserError(
            f"{flag}: {corpus.source} is not the text that {run.run_id} was learned from (fingerprint "
            f"{corpus.fingerprint[:12]}, expected {str(fingerprint)[:12]}): pass the right copy with --data PATH"
        )
    return corpus


def licences(corpora: Iterable[Corpus]) -> list[tuple[str, str]]:
    """Return a warning ("" if the corpus may be shared) and the licence in words, for each corpus."""
    out = []
    for name, licence in sorted({(corpus.card.title, corpus.card.licence) for corpus in corpora}):
        if FORBIDS_SHARING in licence:
            out.append(("Do not share this file.", f"It quotes {name}. Licence: {licence}."))
        elif licence:
            out.append(("", f"This file quotes {name}. Licence: {licence}."))
        else:
            out.append(("Do not share this file", f"before you know the licence of {name}, which it quotes."))
    return out
