"""A tag learner written as a tagger of transformers: the encoder, and a linear layer on each word's first sub-token.

Some learners are no such tagger: those with a cosine head, nearest means, several experts or a decoder of their own.
After writing, transformers loads the folder, and its logits are compared with the learner's. So no folder gives other
tags than the learner.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import Learner, TagLearner
from cl_ner_bench.models.encoders.tokeniser import Tokens
from cl_ner_bench.models.heads.tag import TagHead

_SCALE = 1024.0
"""The length of the vectors that probe a head: so long that its biases cost its weights no digits."""
_SAME_LAYER, _SAME_MODEL = 1e-4, 1e-3
"""The differences of logits that float32 explains, as shares of a tag's largest logit: for a layer, for encoders."""
_PROBE = (
    "On 3 May 1990 , Ms. Zoë-Ana O'Neill ( 47 ) of Zürich sold 12.5 % of Weyland-Yutani Corp. to the U.N.",
    "unforgettable : the antidisestablishmentarian Dr. Nakamura flew from São Paulo to Malmö via New York City !",
    "HIV-1 protease and interleukin-2 were measured in Escherichia coli at 37 ° C , see https://example.org/a_b?c=1 .",
)


class UnfitError(Exception):
    """A learner that is no tagger of transformers; the message says why."""


def write_tagger(learner: Learner, folder: Path, weights: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Write ``learner`` as a tagger of transformers.

    Args:
        folder: the folder of the tokenizer; it gets ``config.json``.
        weights: the safetensors file to write in ``folder``.
        config: the encoder's configuration.

    Returns:
        For each name in ``plain_weights``, the name of the weight in the file.

    Raises:
        UnfitError: the learner is no such tagger.
    """
    weight, bias = linear_layer(learner)
    types = learner.head.types
    if "O" in types:
        raise UnfitError("it has a type called O, which transformers takes for no mention")
    from transformers import AutoConfig, AutoModelForTokenClassification  # takes seconds; span methods never come here
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    labels = ["O", *(f"{place}-{type}" for type in types for place in "BI")]
    ids = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    _write_config(folder, {**config, **ids})
    try:
        with torch.random.fork_rng(devices=[]):  # the weights that this draws are replaced
            made: Any = AutoModelForTokenClassification.from_config(
                AutoConfig.from_pretrained(folder, trust_remote_code=False), trust_remote_code=False
            )
    except (OSError, ValueError) as error:
        raise UnfitError(f"transformers has no tagger of the encoder's family ({_first_line(error)})") from None
    layer = getattr(made, "classifier", None)
    if type(layer) is not nn.Linear or layer.weight.shape != weight.shape or layer.bias is None:
        raise UnfitError("transformers' tagger of the encoder's family is more than a linear layer on the encoder")
    own = plain_weights(learner, merged=True)
    if other := sorted(own.keys() ^ made.base_model.state_dict().keys()):
        raise UnfitError(f"its encoder and transformers' own differ in {other[0]}")
    made.base_model.load_state_dict(own)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    tensors = {name: value.contiguous() for name, value in made.state_dict().items()}
    safetensors.torch.save_file(tensors, weights, {"format": "pt"})
    _write_config(folder, {**config, **ids, "architectures": [type(made).__name__]})
    _compare(learner, folder)
    return {name: f"{made.base_model_prefix}.{name}" for name in own}


@torch.no_grad()
def linear_layer(learner: Learner) -> tuple[Tensor, Tensor]:
    """Return the weight ``[tags, hidden]`` and the bias ``[tags]`` that give a learner's logits in evaluation mode.

    The logits may differ by a constant per word, which changes no probability.

    Raises:
        UnfitError: the logits are not linear in word vectors, or mentions are not decoded from them alone.
    """
    if not isinstance(learner, TagLearner):
        raise UnfitError("it is a span method: it scores spans, not tags")
    if type(learner).decode is not TagLearner.decode:
        raise UnfitError("the method finds mentions by a decoder of its own, not by one tag for each word")
    head = learner.head
    if type(head) is TagHead and type(learner).forward is Learner.forward:
        return head.weight.cpu(), head.bias.cpu()
    hidden = learner.encoder.hidden_size
    eye = _SCALE * torch.eye(hidden)
    above, below = _logits_of(learner, eye), _logits_of(learner, -eye)
    weight, bias = ((above - below) / (2 * _SCALE)).T, _logits_of(learner, torch.zeros(1, hidden))[0]
    random = torch.randn(256, hidden, generator=torch.Generator().manual_seed(0))
    if _differ(random.double() @ weight.T + bias, _logits_of(learner, random), _SAME_LAYER):
        raise UnfitError("the logits of its tags are not linear in a word's vector")
    return weight.float(), bias.float()


@torch.no_grad()
def plain_weights(learner: Learner, merged: bool) -> dict[str, Tensor]:
    """Return the encoder's weights, on the CPU, by their names without adapters.

    With ``merged``, low-rank adapters are added to the weights that they adapt; otherwise they are left out.
    """
    backbone = learner.encoder.backbone
    adapted = [name for name, module in backbone.named_modules() if hasattr(module, "base_layer")]
    if adapted and merged:
        backbone = copy.deepcopy(backbone)
        for name in adapted:
            backbone.get_submodule(name).merge()
    return {
        name.replace(".base_layer.", "."): value.detach().cpu().contiguous()
        for name, value in backbone.state_dict().items()
        if ".lora_" not in name
    }


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(f"{text}\n", encoding="utf-8")


def _compare(learner: Learner, folder: Path) -> None:
    """Raise UnfitError unless transformers and the learner give the words of a sample the same logits."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    tagger = AutoModelForTokenClassification.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tagger.eval()
    sentences = [Sentence(i, tuple(text.split())) for i, text in enumerate(_PROBE)]
    tokens = learner.encoder.tokeniser.tokenise([sentence.words for sentence in sentences])
    for sentence, own in zip(sentences, tokens, strict=True):
        ids = tokenizer([*sentence.words], is_split_into_words=True)["input_ids"]
        if len(own.windows) == 1 and ids != own.ids.tolist():
            raise UnfitError("transformers' tokenizer of the encoder cuts words into other sub-tokens")
    examples = [Example(i, s, t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True))]
    precision, learner.autocast = learner.autocast, None
    try:
        ((_, output),) = learner.outputs([Batch(tuple(examples), learner.device)])
    finally:
        learner.autocast = precision
    if _differ(torch.cat([_tag(tagger, own) for own in tokens]), output.logits.cpu().double(), _SAME_MODEL):
        raise UnfitError("transformers gives the words of a sample other tags")


@torch.no_grad()
def _tag(tagger: Any, tokens: Tokens) -> Tensor:
    """Return the logits ``[words, tags]`` of transformers' tagger at the first sub-token of each word."""
    windows = torch.from_numpy(tokens.ids.astype(np.int64)).split(list(tokens.windows))
    logits = torch.cat([tagger(input_ids=ids[None]).logits[0] for ids in windows])
    return logits[torch.from_numpy(tokens.first.astype(np.int64))].double()


def _logits_of(learner: Learner, vectors: Tensor) -> Tensor:
    """Return the logits ``[words, tags]`` that a learner gives to words with these vectors."""
    words = Sentence(0, ("a",) * len(vectors))
    none = Tokens(np.empty(0, np.int32), (), np.empty(0, np.int32))
    example = Example(0, words, none, vectors.to(learner.device))
    ((_, output),) = learner.outputs([Batch((example,), learner.device)])
    return output.logits.cpu().double()


def _differ(found: Tensor, expected: Tensor, share: float) -> bool:
    """Return True if logits differ by more than ``share`` of a tag's largest one; a constant per word is ignored."""
    if found.shape != expected.shape:
        return True
    found, expected = found - found[:, :1], expected - expected[:, :1]
    return bool(((found - expected).abs() > share * expected.abs().amax(0) + 1e-6).any())
