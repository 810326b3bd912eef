"""`bench data convert`: write a corpus in another format, for other tools."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import note, write_file
from cl_ner_bench.cli.parsing import add_command, add_options
from cl_ner_bench.errors import UserError, counted, short

if TYPE_CHECKING:
    from cl_ner_bench.corpora.sentence import Corpus

FORMATS = ("jsonl", "conll", "brat")  # as in corpora.writers, which is slow to import
OPTIONS = ("data", "parts", "tasks", "max_sentences", "split_seed")
_DESCRIPTION = """\
Write train, dev and test of a corpus, as they were read, in another format.

  jsonl  {"tokens": [...], "entities": [{"start", "end", "label"}]} per line; holds everything
  conll  a word, a tab and its tag (BIO) per line; cannot hold mentions that overlap
  brat   .txt and .ann, one sentence per line; cannot hold borders of words except blanks"""


def add_convert(actions: Any, load: Callable[[argparse.Namespace, Iterable[str]], Corpus]) -> None:
    """Add the command to `bench data`; ``load`` returns the corpus that a command line names with some options."""
    parser = add_command(
        actions,
        "convert",
        lambda parsed: _convert(parsed, load(parsed, OPTIONS)),
        "write a corpus in another format, for other tools",
        description=_DESCRIPTION,
        epilog="examples:\n  bench data convert path/to/folder converted --format conll\n"
        "  bench data convert wnut17 wnut17-brat --data PATH --format brat",
    )
    parser.add_argument("dataset", metavar="IN", help="a name of `bench list datasets`, a card, or a folder of files")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to, new or empty")
    parser.add_argument("--format", choices=FORMATS, required=True, help="the format to write")
    parser.add_argument(
        "--lossy",
        action="store_true",
        help="leave out what the format cannot hold, and say how much (default: write nothing)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write into a folder that is not empty, and replace files of the same names",
    )
    add_options(parser, OPTIONS)


def _convert(parsed: argparse.Namespace, corpus: Corpus) -> int:
    from cl_ner_bench.corpora import writers
    from cl_ner_bench.corpora.card import FORBIDS_SHARING
    from cl_ner_bench.corpora.readers.lines import some
    from cl_ner_bench.corpora.sentence import PARTS
    from cl_ner_bench.scenarios.statistics import without_task_text

    format_ = writers.FORMATS[parsed.format]
    found = writers.fitting({part: corpus.used(part) for part in PARTS}, format_)
    if found.losses and not parsed.lossy:
        raise UserError(
            f"--format {parsed.format} cannot hold {'; '.join(found.losses)}. Choose jsonl, which holds everything, or "
            "pass --lossy to leave these out"
        )
    empty = [part for part, sentences in found.parts.items() if not sentences]
    if empty:
        raise UserError(f"--format {parsed.format}: no sentence of {' and '.join(empty)} could be written")
    there = _entries(parsed, corpus)
    for part, sentences in found.parts.items():
        texts = zip(format_.endings, format_.write(sentences), strict=True)
        written = {f"{part}{ending}": text for ending, text in texts}
        for name, text in written.items():
            write_file("OUT", parsed.out / name, text.encode())
        mentions = sum(len(sentence.mentions) for sentence in sentences)
        size = f"{counted(len(sentences), 'sentence')}, {counted(mentions, 'mention')}"
        replaced = " (replaced)" if there.intersection(written) else ""
        note(f"{parsed.out / part}{' and '.join(format_.endings)}: {size}{replaced}")
        there.difference_update(written)
    if there:
        note(f"{parsed.out} holds other files, which stay as they are: {some(sorted(there))}")
    if corpus.sample is not None:
        sizes = [f"{len(corpus.sample[part]):,} of {len(corpus.parts[part]):,} {part}" for part in PARTS]
        note(f"a random sample (--max-sentences): {', '.join(sizes)} sentences")
    for remark in (*corpus.remarks, *(f"left out: {loss}" for loss in found.losses)):
        note(remark)
    if corpus.dropped:
        note(without_task_text(corpus.dropped, corpus.n_mentions))
    if parsed.format == "brat" and (recut := writers.recut_words(chain(*found.parts.values()))):
        note(
            f"brat holds no borders of words: {sum(recut.values()):,} words (the first: {short(next(iter(recut)))}) "
            'are cut further where this is read again, unless a card says [reader_options] words = "blanks"'
        )
    if FORBIDS_SHARING in corpus.card.licence:
        note(f"do not share these files. Licence of {corpus.card.title}: {corpus.card.licence}")
    elif corpus.card.licence:
        note(f"licence of {corpus.card.title}: {corpus.card.licence}")
    return 0


def _entries(parsed: argparse.Namespace, corpus: Corpus) -> set[str]:
    """Return the names of the files in the output folder. Raise UserError if the command may not write there."""
    from cl_ner_bench.corpora.readers.lines import some

    out: Path = parsed.out
    if out.exists() and not out.is_dir():
        raise UserError(f"OUT {out} is a file; name a folder")
    if os.path.realpath(out) == os.path.realpath(corpus.source):
        raise UserError(f"OUT {out} is the folder of IN; name another folder")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and not parsed.overwrite:
        raise UserError(f"OUT {out} holds files ({some(sorted(there))}); name another folder, or pass --overwrite")
    return there
