"""`bench extend`: one more step on a stored, an exported or a foreign model."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import note, show, table, transient, wrapped
from cl_ner_bench.cli.parsing import add_command, add_options, given

if TYPE_CHECKING:
    from cl_ner_bench.running.extending import Extended

OPTIONS = ("parts", "epochs", "batch_size", "lr", "head_lr", "device", "precision", "threads")
OF_THE_MODEL = ("epochs", "batch_size", "lr", "head_lr", "precision", "threads")
EVERY = 0.2  # seconds between two lines of progress
EXAMPLES = """\
examples:
  bench extend results/mine/runs/RUN_ID --data new_type --out model
  bench extend model --data new_type --method lwf --epochs 8 --out model2
  bench extend ./bert-finetuned-ner --data new_type --method extendner --out model

MODEL is the folder of a run, of a model that `bench export` or `bench extend` wrote, or of a token
classifier of transformers (safetensors; labels O, B-..., I-...). DIR is a corpus folder in any form
that `bench run` reads (train, and dev and test if there are any), or one file, in which the new
types are labelled. Labels of old types are not needed.
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "extend",
        _execute,
        "learn a new type on top of a model",
        usage="bench extend MODEL --data DIR --out DIR [options]",
        description="Learn one more step on top of a model by a method's own rules, and compare it with the old model.",
        epilog=EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="the folder of the model")
    parser.add_argument("--data", required=True, metavar="DIR", help="sentences that label the new types")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the new model; it must be new or empty")
    parser.add_argument("--method", metavar="NAME", help="method of the step (default: the model's)")
    parser.add_argument(
        "--types", metavar="A,B", help="types of DIR to learn; needed where it labels old ones, too (default: all)"
    )
    parser.add_argument("--step", metavar="K", help="step of a run whose model is meant (default: the last)")
    parser.add_argument(
        "--recipe", metavar="NAME", help="hyper-parameters (default: the model's; paper for transformers)"
    )
    parser.add_argument("--seed", metavar="N", help="random seed (default: the model's)")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="set any other hyper-parameter; may be repeated"
    )
    add_options(parser, OPTIONS, preset=OF_THE_MODEL, source="the model's")
    output = parser.add_argument_group("output")
    output.add_argument("-q", "--quiet", action="store_true", help="print only the results, warnings and errors")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.running.extending import extend_model
    from cl_ner_bench.storage.model_folder import refuse_out

    refuse_out(Path(parsed.out))
    options = given(parsed, ("step", "method", "types", "seed", "set", "recipe", *OPTIONS))
    try:
        done = extend_model(
            parsed.model, parsed.data, **options, progress=(lambda _: None) if parsed.quiet else _Line()
        )
    finally:
        transient("")
    done.model.export(parsed.out)
    show(as_text(done))
    for warning in done.warnings:
        note(f"warning: {warning}")
    if done.warnings:
        note("a lower --lr, another --method, or data that label old types, too (--types), may keep more of them")
    if not parsed.quiet:
        for line in done.notes:
            note(f"note: {line}")
        note(f"the model is in {parsed.out}; `bench predict {parsed.out}` uses it")
    return 0


class _Line:
    """The progress of the step as a line on a terminal."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, state: dict[str, Any]) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY
        if "update" in state:
            transient(
                f"epoch {state['epoch']} of {state['epochs']}, update {state['update']} of {state['updates']}, "
                f"loss {state['loss']:.3g}"
            )
        else:
            transient(f"{state['predicted_words']:,} words predicted")


def as_text(done: Extended) -> str:
    """Return what the step changed, for a reader, in at most 100 columns."""
    this = done.model.history[-1]
    lines = [
        f"{done.model.record.method}, step {done.model.step}: learned {', '.join(done.data.types)} from "
        f"{done.learned['examples']:,} sentences in {done.learned['updates']:,} updates; "
        f"epoch {done.learned['selected_epoch']} of {done.learned['epochs']} was kept",
    ]
    if this.scores:
        rows = ([s.part, s.type, s.gold, _number(s.before), _number(s.after)] for s in this.scores)
        lines += ["", "F1 by the labels of DIR", table(["part", "type", "mentions", "before", "after"], rows)]
    if shown := [a for a in this.agreements if a.old or a.new or a.relabelled]:
        rows = ([a.part, a.type, a.old, a.new, a.both, _number(a.f1), a.relabelled] for a in shown)
        header = ["part", "type", "old model", "new model", "both", "agreement", "set aside"]
        lines += ["", "Mentions of old types, found by the old model and by the new one", table(header, rows)]
    lines += ["", *_explanations(done)]
    return "\n".join(lines).rstrip()


def _explanations(done: Extended) -> Iterator[str]:
    """Yield what the columns mean, and what they cannot say."""
    from cl_ner_bench.running.retention import BOUND

    this = done.model.history[-1]
    if this.agreements:
        yield from wrapped(
            "agreement: F1 of the new model's mentions with the old model's as reference: labels of old types are "
            "missing here, so this says what changed, not what is right. The step has learned from train, where it is "
            f"highest. Below {BOUND:g} over all parts, a type is warned of. set aside: mentions of the old model on "
            "words that a new label covers.",
            0,
        )
    if absent := [f"{a.type} ({a.part})" for a in this.agreements if not (a.old or a.new or a.relabelled)]:
        yield from wrapped(f"Neither model finds a mention of {', '.join(absent)}.", 0)
    if any(score.part == "dev" for score in this.scores) and any(done.learned["dev_scores"]):
        yield from wrapped("F1 on dev chose the epoch, so that it is too high.", 0)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
