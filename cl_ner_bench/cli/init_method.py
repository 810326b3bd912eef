"""`bench init-method`: write a working file for a new method, for the user to change."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from cl_ner_bench.cli.output import show
from cl_ner_bench.cli.parsing import add_command
from cl_ner_bench.errors import UserError

TOKEN = '''"""TITLE: a line on the idea."""

CARD = {
    "NAME": {
        "class": "CLASS",
        "architecture": "token",
        "first_step": "base",  # step 1 is plain cross-entropy, whatever the settings
        "settings": {"kd_weight": 1.0},
        "help": {"kd_weight": "weight of distillation from the previous model"},
        "identities": {"base": {"kd_weight": 0.0}},  # with this setting it equals the base learner
        "summary": "CE on all words + kd_weight * KL to the previous model over the old tags.",
        "stores": "one copy of the model",
    },
}

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, TagLearner
from cl_ner_bench.models.losses import categorical_kl


class CLASS(TagLearner):
    """CE(all words) + kd_weight * KL(teacher || student), over the old tags, mean over all words."""

    needs = frozenset({"teacher"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        if teacher is not None:  # from step 2 on
            old = output.logits[:, : teacher.logits.shape[1]]
            losses["kd"] = self.settings["kd_weight"] * categorical_kl(teacher.logits, old).mean()
        return losses
'''
SPAN = '''"""TITLE: a line on the idea."""

CARD = {
    "NAME": {
        "class": "CLASS",
        "architecture": "span",
        "first_step": "base",  # step 1 is plain binary cross-entropy, whatever the settings
        "settings": {"kd_weight": 1.0},
        "help": {"kd_weight": "weight of distillation from the previous model"},
        "identities": {"spankl-nokd": {"kd_weight": 0.0}},  # with this setting it equals that method
        "summary": "BCE on the labelled columns + kd_weight * KL to the previous model on the other old columns.",
        "stores": "one copy of the model",
    },
}

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, SpanLearner


class CLASS(SpanLearner):
    """BCE(labelled columns) + kd_weight * KL(teacher || student), over the old columns without labels."""

    needs = frozenset({"teacher"})

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = {"bce": self.bce(batch, output, self.labelled)}
        if teacher is not None and self.unlabelled:  # from step 2 on
            losses["kd"] = self.settings["kd_weight"] * self.kl(batch, output, teacher, self.unlabelled)
        return losses
'''
PLUG_IN = '''"""TITLE: a line on the idea."""

CARD = {
    "NAME": {
        "class": "CLASS",
        "architecture": "any",
        "settings": {"size_weight": 0.01},  # beside those of the method that it is on: give names that tell
        "help": {"size_weight": "weight of the mean squared logit"},
        "identities": {"base": {"size_weight": 0.0}},  # with this setting it equals the method that it is on
        "summary": "The method's losses + size_weight * mean squared logit.",
    },
}

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output


class CLASS(Learner):
    """losses of the method + size_weight * mean(logits^2)."""

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses = super().losses(batch, output, teacher)
        return losses | {"size": self.settings["size_weight"] * output.logits.square().mean()}
'''


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "init-method",
        _execute,
        "write a working file for a new method",
        usage="bench init-method NAME [FILE] [--span | --plug-in]",
        description="Write a working method file for you to change. Its method distils from the previous model; with\n"
        "--plug-in, it adds a term to the loss of any other method.",
        epilog="examples:\n  bench init-method mine              writes mine.py\n"
        "  bench init-method my-spans ideas/spans.py --span\n"
        "  bench init-method smooth --plug-in  writes smooth.py, a plug-in for any method\n\n"
        "Then: bench check-method mine.py",
    )
    parser.add_argument("name", metavar="NAME", help="the method's name in grids and tables")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the file to write (default: NAME.py)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--span", action="store_true", help="score spans instead of tagging words")
    kind.add_argument("--plug-in", action="store_true", help="change another method, for words or spans")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench import method_card, registry

    name = parsed.name
    if name.endswith(".py"):
        raise UserError(f"NAME {name!r}: a name, not a file; write bench init-method {Path(name).stem} {name}")
    if not method_card.NAME.fullmatch(name):
        raise UserError(f"NAME {name!r}: a method's name holds letters, digits, '-', '_' and '.', as in my-method")
    if name in registry.methods():
        raise UserError(
            f"NAME {name!r}: a method of this name already exists (bench list methods {name}); choose another"
        )
    file = parsed.file or Path(re.sub(r"\W", "_", name) + ".py")
    words = re.findall(r"[A-Za-z0-9]+", name)
    title = "".join(word[0].upper() + word[1:] for word in words)
    text = PLUG_IN if parsed.plug_in else SPAN if parsed.span else TOKEN
    for key, value in (("TITLE", name), ("NAME", name), ("CLASS", title if title[0].isalpha() else f"Method{title}")):
        text = text.replace(key, value)
    if file.exists():
        raise UserError(f"{file} already exists and is not overwritten; give another FILE")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}); give another FILE") from None
    show(f"{file} holds a working method. Change it, then run:")
    beside = (
        f"{file}+extendner,extendner" if parsed.plug_in else f"{file},finetune-{'span' if parsed.span else 'token'}"
    )
    show(f"  bench check-method {file}\n  bench run --methods {beside}")
    return 0
