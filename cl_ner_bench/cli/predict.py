"""`bench predict`: find mentions in text with a stored model."""

from __future__ import annotations

import argparse
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import duration, note
from cl_ner_bench.cli.parsing import add_command
from cl_ner_bench.errors import UserError, counted, short

if TYPE_CHECKING:
    from cl_ner_bench.deployment.predicting import Answer
    from cl_ner_bench.deployment.text_input import TextInput

EXAMPLES = """\
examples:
  bench predict results/mine/runs/RUN_ID --text "Ada Lovelace wrote to London."
  bench predict my-model --file texts.txt --out found.jsonl        one text per line
  bench predict my-model --file texts.jsonl --skip-malformed       {"text": "..."} per line
  zcat large.txt.gz | bench predict my-model - | head              answers while texts come in
  bench predict my-model --file texts.txt --format brat --out annotated

A line of output: {"text": "...", "mentions": [{"start": 0, "end": 12, "start_word": 0,
"end_word": 2, "type": "PER", "score": 0.98, "text": "Ada Lovelace"}]}. docs/use-a-model.md
describes the rules and formats.
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "predict",
        _execute,
        "find mentions in text with a stored model",
        usage='bench predict RUN_DIR|MODEL (--text "..." | --file F | -) [options]',
        description="Find mentions in text with the model of a run (RESULTS_DIR/runs/RUN_ID) or with an exported\n"
        "model. Print one JSON object per text, in the order of the texts, as soon as it is ready.",
        epilog=EXAMPLES,
    )
    parser.add_argument("model", metavar="RUN_DIR|MODEL", help="folder of a run, or of an exported model")
    parser.add_argument("--step", type=int, metavar="K", help="use the model after step K of a run (default: the last)")
    parser.add_argument("--method", metavar="FILE.py", help="the file of your own method; it runs as code")
    texts = parser.add_argument_group("texts")
    texts.add_argument("stray", nargs="?", help=argparse.SUPPRESS)
    texts.add_argument("-", dest="stdin", action="store_true", default=None, help="read standard input")
    texts.add_argument("--text", action="append", metavar="TEXT", help="a text; may be repeated")
    texts.add_argument("--file", type=Path, metavar="F", help="a file with one text per line, plain or gzipped")
    texts.add_argument(
        "--input",
        choices=("text", "jsonl"),
        help="form of a line: a text, or a JSON object with `text` or `tokens`, and `id` if you like "
        "(default: jsonl for *.jsonl and *.jsonl.gz, else text)",
    )
    texts.add_argument("--no-split", action="store_true", help="take each text as one sentence (default: split it)")
    texts.add_argument(
        "--skip-malformed",
        action="store_true",
        help="skip lines that cannot be read; name and count them (default: stop at the first)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format", choices=("jsonl", "conll", "brat"), default="jsonl", help="output format (default: jsonl)"
    )
    output.add_argument(
        "--out",
        type=Path,
        metavar="FILE|DIR",
        help="file to write, which appears when it is complete, or a named pipe; for brat a folder (default: "
        "standard output)",
    )
    output.add_argument("-q", "--quiet", action="store_true", help="print only results, warnings and errors")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    machine.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's, all cores)")


def _execute(parsed: argparse.Namespace) -> int:
    texts = _texts(parsed)
    if parsed.format == "brat" and parsed.out is None:
        raise UserError("--format brat writes two files for each text: name a folder for them with --out DIR")
    with _terminated():
        from cl_ner_bench.deployment.model import open_model
        from cl_ner_bench.deployment.predicting import answers
        from cl_ner_bench.deployment.text_output import check_format

        if parsed.threads is not None:
            _set_threads(parsed.threads)
        model = open_model(parsed.model, parsed.step, method=parsed.method, device=parsed.device)
        check_format(parsed.format, model.types, model.trainer.nested)
        with _sink(parsed.format, parsed.out) as write, _Counter(texts, parsed) as counter:
            for group in answers(model.trainer, texts, not parsed.no_split, parsed.format == "conll"):
                write(group)
                counter.add(group)
            if not isinstance(texts, list) and texts.fault:
                raise UserError(texts.fault)
    return 0


def _texts(parsed: argparse.Namespace) -> list[Answer] | TextInput:
    from cl_ner_bench.corpora.readers.lines import has_half_pair
    from cl_ner_bench.deployment.predicting import Answer
    from cl_ner_bench.deployment.text_input import Line, TextInput
    from cl_ner_bench.deployment.text_output import misfit

    if parsed.stray is not None:
        raise UserError(f"{parsed.stray!r}: expected - for standard input; pass a text with --text, a file with --file")
    given = {"--text": parsed.text, "--file": parsed.file, "-": parsed.stdin}
    if len(flags := [flag for flag, value in given.items() if value is not None]) != 1:
        conflict = f"{' and '.join(flags)} exclude each other: " if flags else ""
        raise UserError(f'{conflict}expected one of --text "...", --file F, or - for standard input')
    if parsed.text is not None:
        for text in parsed.text:
            if not text.strip():
                raise UserError('--text is empty: expected a text, as in --text "Ada Lovelace wrote to London."')
            if has_half_pair(text):
                raise UserError(f"--text {text!a}: expected UTF-8")
            if bad := misfit(parsed.format, text):
                raise UserError(f"--text {short(text)}: {bad}")
        return [Answer(text, Line(n, {})) for n, text in enumerate(parsed.text, 1)]
    name = "standard input" if parsed.file is None else str(parsed.file)
    is_jsonl = parsed.input == "jsonl" if parsed.input else name.removesuffix(".gz").endswith(".jsonl")
    source = sys.stdin.buffer if parsed.file is None else parsed.file
    found = TextInput(source, name, is_jsonl, parsed.skip_malformed, parsed.format)
    if parsed.out and any(map(found.reads, (parsed.out, *_places(parsed.out)))):
        raise UserError(f"--out {parsed.out}: would replace the input {name}; pass another --out")
    return found


def _set_threads(n: int) -> None:
    import torch

    if n < 1:
        raise UserError(f"--threads {n}: expected 1 or more")
    torch.set_num_threads(n)


@contextmanager
def _sink(format: str, out: Path | None) -> Iterator[Callable[[Sequence[Answer]], None]]:
    """Yield a function that writes texts with their mentions. It writes only whole texts, even if the command stops."""
    from cl_ner_bench.deployment.text_output import as_conll, as_jsonl

    lines_of = as_conll if format == "conll" else as_jsonl
    if out is None or (format != "brat" and _is_stdout(out)):
        yield lambda group: _write(sys.stdout.buffer, map(lines_of, group))
        return
    try:
        if format == "brat":
            yield _pairs(out)
            return
        if out.is_dir():
            raise UserError(f"--out {out}: expected a file, found a folder")
        if _is_stream(out):
            with out.open("wb") as stream:
                yield lambda group: _write(stream, map(lines_of, group))
            return
        place, partial = _places(out)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:
            try:
                yield lambda group: _write(file, map(lines_of, group))
                os.replace(partial, place)
            except BaseException:
                if file.tell():
                    note(f"what was found so far is in {partial}")
                else:
                    partial.unlink()
                raise
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None


def _places(out: Path) -> tuple[Path, Path]:
    """Return the path of the file ``out`` with links resolved, and its path while it is incomplete."""
    place = Path(os.path.realpath(out))
    return place, place.with_name(f"{place.name}.partial")


def _is_stdout(out: Path) -> bool:
    """Return True if ``out`` is standard output (/dev/stdout). It may be a file whose other content must stay."""
    with suppress(OSError):
        return os.path.samestat(out.stat(), os.fstat(sys.stdout.fileno()))
    return False


def _is_stream(out: Path) -> bool:
    """Return True if ``out`` is a named pipe or a device. Raise OSError if that cannot be determined."""
    with suppress(FileNotFoundError):
        return not stat.S_ISREG(out.stat().st_mode)
    return False


def _pairs(out: Path) -> Callable[[Sequence[Answer]], None]:
    """Return a function that writes two files for each text into a new or empty folder."""
    from cl_ner_bench.deployment.text_output import as_brat
    from cl_ner_bench.storage.files import write_bytes

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: expected a new or empty folder; else old texts would mix with new ones")

    def write(group: Sequence[Answer]) -> None:
        for answer in group:
            text, marks = as_brat(answer)
            with _uninterrupted():
                write_bytes(out / f"{answer.about.number:06}.ann", marks, durable=False)
                write_bytes(out / f"{answer.about.number:06}.txt", text, durable=False)

    out.mkdir(parents=True, exist_ok=True)
    return write


def _write(file: Any, lines: Iterable[bytes]) -> None:
    data = b"".join(lines)
    try:
        with _uninterrupted():
            file.write(data)
            file.flush()
    except BrokenPipeError:  # `| head`
        raise
    except OSError as error:
        raise UserError(f"the results cannot be written ({error.strerror})") from None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM to the end of the block, so that its write is complete."""
    came: list[int] = []
    before: dict[int, Any] = {n: signal.signal(n, lambda n, _: came.append(n)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
        for n in came:
            signal.raise_signal(n)


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with exit code 143."""

    def stop(_number: int, _frame: Any) -> None:
        note("stopped")
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Counter:
    """The progress on stderr: a live line (on a terminal without results on it), and a line of counts at the end."""

    def __init__(self, texts: list[Answer] | TextInput, parsed: argparse.Namespace) -> None:
        self._input = None if isinstance(texts, list) else texts
        self._quiet = parsed.quiet
        self._texts = self._words = self._mentions = 0
        self._began = time.monotonic()
        self._bar: Any = None
        if self._input and not self._quiet and sys.stderr.isatty() and (parsed.out or not sys.stdout.isatty()):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

            columns: list[ProgressColumn] = [TextColumn("{task.description}")]
            if self._input.size is not None:
                columns = [*columns, BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn()]
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._told(), total=self._input.size)

    def __enter__(self) -> _Counter:
        if self._bar:
            self._bar.start()
        return self

    def add(self, group: Sequence[Answer]) -> None:
        self._texts += len(group)
        self._words += sum(answer.n_words for answer in group)
        self._mentions += sum(len(answer.found) for answer in group)
        if self._bar and self._input:
            self._bar.update(self._task, description=self._told(), completed=self._input.done)

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if not self._input:
            return
        skipped = f", {counted(self._input.skipped, 'malformed line')} skipped" if self._input.skipped else ""
        if skipped or not self._quiet:
            note(f"{self._told()}{skipped}")

    def _told(self) -> str:
        seconds = time.monotonic() - self._began
        counts = f"{counted(self._texts, 'text')}, {counted(self._words, 'word')}, {counted(self._mentions, 'mention')}"
        return f"{counts} in {duration(seconds)} ({self._words / max(seconds, 1e-3):,.0f} words a second)"
