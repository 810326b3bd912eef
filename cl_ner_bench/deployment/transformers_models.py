"""A token classifier of ``transformers`` as a model after one step: its labels are the types of step 1."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from cl_ner_bench import method_code, registry
from cl_ner_bench.corpora.card import UNSTATED
from cl_ner_bench.corpora.cards import generic, recipe
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.deployment.model import Model
from cl_ner_bench.errors import UserError, counted
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.running import environment
from cl_ner_bench.running.from_record import new_trainer
from cl_ner_bench.storage.files import from_json
from cl_ner_bench.storage.model_folder import LearnedStep, ModelRecord, is_model_folder

FOREIGN = "transformers"
"""Name in place of a method for a model that other code trained."""

PLAIN = "finetune-token"


def is_foreign(folder: Path) -> bool:
    """Return True for a token classifier of transformers, and False for a folder of a run or of an exported model.

    Raises:
        UserError: ``config.json`` cannot be read, or describes another kind of model.
    """
    from cl_ner_bench.models.tagger import is_tagger

    if is_model_folder(folder) or not (folder / "config.json").is_file():
        return False
    try:
        config = from_json((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / 'config.json'}: cannot be read as JSON ({error})") from None
    if not isinstance(config, dict) or not is_tagger(config):
        raise UserError(
            f"{folder}: expected the folder of a run, of an exported model, or of a token classifier of transformers; "
            "its config.json is of another kind of model (its architectures name no ...ForTokenClassification)"
        )
    return True


def foreign_model(folder: Path, recipe_name: str, device: str) -> Model:
    """Return a token classifier as the plain token learner after one step.

    Raises:
        UserError: its labels are neither BIO nor IO, its head is not one linear layer, or it is damaged.
    """
    from cl_ner_bench.models.tagger import check_encoder, read_tagger

    card = registry.methods()[PLAIN]
    training = recipe(generic(), recipe_name, "token", "", card.recipes)
    if training.get("head", UNSTATED["head"]) != "linear":
        raise UserError(f"--recipe {recipe_name}: has head {training['head']}, and a token classifier's head is linear")
    place, precision = environment.resolve_device(device, "auto")
    settings = {"recipe": recipe_name, **training, "exact": False, "nested": False, "method": {}}
    settings |= {"precision": precision, "device": environment.kind(place), "threads": 1}
    try:
        info = encoder_info(str(folder.absolute()))
        head = read_tagger(info)
        trainer = new_trainer(card, settings, info.spec, 0, place)
        check_encoder(info, trainer.learner.encoder.backbone.state_dict())
        rows = {"head.blocks.0.weight": head.weight[:1], "head.blocks.0.bias": head.bias[:1]}
        rows |= {"head.blocks.1.weight": head.weight[1:], "head.blocks.1.bias": head.bias[1:]}
        trainer.set_state({**trainer.learner.state_dict(), **rows}, {"types": [head.types]})
        trainer.predict([Sentence(0, ("a", "word"))])
    except UserError as error:
        raise UserError(str(error).removeprefix("--encoder ")) from None
    except (OSError, ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder}: its files make no model ({type(error).__name__}: {reason})") from error
    record = ModelRecord(
        method=FOREIGN,
        spec=PLAIN,
        architecture="token",
        seed=0,
        settings=settings,
        fingerprints={"method": method_code.method_fingerprint(card), "encoder": info.fingerprint},
        encoder=info.name,
        history=[LearnedStep(step=1, types=[*head.types], method=FOREIGN)],
        versions=environment.versions(),
    )
    return Model(record, trainer, card)


def adapt_to_iob1(model: Model, sentences: Sequence[Sentence]) -> str:
    """Treat B like I if the model begins most mentions with I, as in IOB1. Return a note, or "" without a change.

    In IOB1, B only begins a mention that touches another mention of the same type. The names of labels do not show the
    scheme, so count the most probable labels of ``sentences``.
    """
    from cl_ner_bench.learning.batches import Example, by_length
    from cl_ner_bench.learning.step import EVALUATION_BUDGET
    from cl_ner_bench.models.tagger import INSIDE_FIRST

    learner = model.trainer.learner
    weight, bias = learner.head.weight.detach().clone(), learner.head.bias.detach().clone()
    if weight[1::2].equal(weight[2::2]):  # labels without B
        return ""
    tokens = learner.encoder.tokeniser.tokenise([s.words for s in sentences])
    examples = [Example(i, s, t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True))]
    begins = {"B": 0, "I": 0}
    for batch, output in learner.outputs(by_length(examples, EVALUATION_BUDGET, learner.device)):
        for path in output.logits.argmax(1).cpu().split(batch.lengths):
            tags = [0, *path.tolist()]
            for last, tag in itertools.pairwise(tags):
                begins["B"] += tag % 2
                begins["I"] += tag > 0 and tag % 2 == 0 and last not in (tag, tag - 1)
    if begins["I"] <= begins["B"]:
        return ""
    weight[1::2], bias[1::2] = weight[2::2], bias[2::2] - INSIDE_FIRST
    learner.head.assign(weight, bias)
    return (
        f"the model begins {counted(begins['I'], 'mention')} of this text with I- and {begins['B']:,} with B-: its "
        "labels are read as IOB1, mentions of one type that touch as one"
    )
