"""`bench extend`: learn one more step on a stored, an exported or a foreign model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_ner_bench.cli.output import duration, note, show, table, transient, wrapped
from cl_ner_bench.cli.parsing import add_command, add_options, given
from cl_ner_bench.errors import counted

if TYPE_CHECKING:
    from cl_ner_bench.deployment.extending import Extended
    from cl_ner_bench.deployment.new_data import NewData

OPTIONS = ("parts", "epochs", "batch_size", "lr", "head_lr", "device", "precision", "threads")
OF_THE_MODEL = ("epochs", "batch_size", "lr", "head_lr", "precision", "threads")
EVERY = 0.2  # seconds between two lines of progress
EXAMPLES = """\
examples:
  bench extend results/mine/runs/RUN_ID --data new_type --out model
  bench extend model --data new_type --method lwf --epochs 8 --out model2
  bench extend ./bert-finetuned-ner --data new_type --method extendner --out model

MODEL is the folder of a run, of a model that `bench export` or `bench extend` wrote, or of a token
classifier of transformers (safetensors; labels O, B-..., I-...). DIR is a file, or a corpus folder
in any form that `bench run` reads; it may lack dev and test. Label the new types in DIR. Labels of
old types are not needed.
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "extend",
        _execute,
        "learn a new type on top of a model",
        usage="bench extend MODEL --data DIR --out DIR [options]",
        description="Learn one more step on top of a model, by the rules of a method. Compare the new model with\n"
        "the old one.",
        epilog=EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of the model")
    parser.add_argument("--data", required=True, metavar="DIR", help="corpus folder or file that labels the new types")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the new model; new or empty")
    parser.add_argument("--method", metavar="NAME", help="method of the step (default: the model's)")
    parser.add_argument(
        "--types", metavar="A,B", help="types of DIR to learn; needed if DIR also labels old types (default: all)"
    )
    parser.add_argument("--step", metavar="K", help="start from the model after this step of a run (default: the last)")
    parser.add_argument(
        "--recipe", metavar="NAME", help="recipe (default: the model's; paper for a model of transformers)"
    )
    parser.add_argument("--seed", metavar="N", help="random seed (default: the model's)")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="set any other hyper-parameter; may be repeated"
    )
    add_options(parser, OPTIONS, preset=OF_THE_MODEL, source="the model's")
    output = parser.add_argument_group("output")
    output.add_argument("-q", "--quiet", action="store_true", help="print only the results, warnings and errors")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.storage.model_folder import refuse_out

    refuse_out(Path(parsed.out))
    options = given(parsed, ("step", "method", "types", "seed", "set", "recipe", *OPTIONS))
    try:
        from cl_ner_bench.deployment.extending import extend_model  # slow to import, so Ctrl-C may come here

        done = extend_model(
            parsed.model, parsed.data, **options, progress=(lambda _: None) if parsed.quiet else _Line()
        )
    except KeyboardInterrupt:
        transient("")
        note("stopped: nothing was written")
        return 130
    finally:
        transient("")
    done.model.export(parsed.out)
    show(as_text(done))
    for warning in done.warnings:
        note(f"warning: {warning}")
    if done.warnings:
        note("this is change, not proven loss: only labels of old types in dev or test (--types) show it")
        note("a lower --lr, another --method, or train sentences that label old types, too, change less")
    if not parsed.quiet:
        for line in done.notes:
            note(f"note: {line}")
        note(f"the model is in {parsed.out}; `bench predict {parsed.out}` uses it")
    return 0


class _Line:
    """The progress of the step on stderr: a live line on a terminal, else a line for each phase."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._phase, self._began, self._next = "", 0.0, 0.0

    def __call__(self, state: dict[str, Any]) -> None:
        now = time.monotonic()
        if state["phase"] != self._phase:
            self._phase, self._began, self._next = state["phase"], now, 0.0
            if not self._live:
                note(as_progress(state, 0.0))
        if self._live and now >= self._next:
            self._next = now + EVERY
            transient(as_progress(state, now - self._began))


def as_progress(state: Mapping[str, Any], seconds: float) -> str:
    """Return a line of progress from a report of ``extend_model``, ``seconds`` after the phase began."""
    share, told = 0.0, state["phase"]
    if "update" in state:
        share = state["update"] / state["updates"]
        told += (
            f": epoch {state['epoch']} of {state['epochs']}, update {state['update']:,} of {state['updates']:,}, "
            f"loss {state['loss']:.3g}"
        )
    elif "words" in state:
        done = state.get("predicted_words", 0)
        share = done / state["words"] if state["words"] else 0.0
        told += f": {done:,} of {state['words']:,} words" if done else f" ({state['words']:,} words)"
    elif "predicted_words" in state:
        told += ": score on dev"
    return f"{told}, about {duration(seconds / share - seconds)} left" if share else told


def as_text(done: Extended) -> str:
    """Return a text on the changes by the step, at most 100 columns wide."""
    this = done.model.history[-1]
    lines = [
        f"{done.model.record.method}, step {done.model.step}: learned {', '.join(done.data.types)} from "
        f"{counted(done.learned['examples'], 'sentence')} in {counted(done.learned['updates'], 'update')}; "
        f"epoch {done.learned['selected_epoch']} of {done.learned['epochs']} was kept",
    ]
    if this.scores:
        rows = ([s.part, s.type, s.gold, _number(s.before), _number(s.after)] for s in this.scores)
        lines += [
            "",
            f"F1 by the labels of {done.data.corpus.name}",
            table(["part", "type", "mentions", "before", "after"], rows),
        ]
    if shown := [a for a in this.agreements if a.old or a.new or a.relabelled]:
        rows = ([a.part, a.type, a.old, a.new, a.both, _number(a.f1), a.relabelled] for a in shown)
        header = ["part", "type", "old model", "new model", "both", "agreement", "set aside"]
        lines += ["", "Mentions of old types, found by the old model and by the new one", table(header, rows)]
    lines += ["", *_explanations(done)]
    return "\n".join(lines).rstrip()


def _explanations(done: Extended) -> Iterator[str]:
    """Yield the meaning and the limits of the columns."""
    from cl_ner_bench.deployment.retention import BOUND

    this = done.model.history[-1]
    if this.agreements:
        yield from wrapped(
            "agreement: F1 of the new model's mentions with the old model's as reference: what changed, not what is "
            f"right. {_old_labels(done.data, {a.type for a in this.agreements})} The step has learned from train, "
            f"where agreement is highest. Below {BOUND:g} over all parts, a type is warned of. set aside: mentions of "
            "the old model on words that a new label covers.",
            0,
        )
    if absent := [f"{a.type} ({a.part})" for a in this.agreements if not (a.old or a.new or a.relabelled)]:
        yield from wrapped(f"Neither model finds a mention of {', '.join(absent)}.", 0)
    if any(score.part == "dev" for score in this.scores) and any(done.learned["dev_scores"]):
        yield from wrapped("F1 on dev chose the epoch, so that it is too high.", 0)


def _old_labels(data: NewData, old: Collection[str]) -> str:
    """Return sentences on the ``old`` types that each part labels, and on the consequences."""
    parts_by_types: dict[str, list[str]] = {}
    said = []
    for part, sentences in data.sentences.items():
        types = {m.type for s in sentences for m in s.mentions} & {*old}
        named = "all old types" if types == {*old} else ", ".join(sorted(types))
        if types and part == "train":
            said.append(f"Labels of {named} are in train, too, and the step has not learned from them.")
        else:
            parts_by_types.setdefault(named, []).append(part)
    for named, parts in parts_by_types.items():
        where = " and ".join(parts)
        if named:
            said.append(f"Labels of {named} are in {where}, where the F1 above says what is right.")
        else:
            said.append(f"Labels of old types are missing in {where}.")
    return " ".join(said)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
