"""The linear tag head of a ``transformers`` token classifier, as weights of our own.

Its folder holds ``config.json``, whose ``id2label`` names the tags, and safetensors with an encoder and a linear
``classifier`` on its last layer. Nothing else in the folder is read here, and none of its code is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from cl_ner_bench.errors import UserError, did_you_mean, short
from cl_ner_bench.models.encoders.info import EncoderInfo

INSIDE_FIRST = 1e-3
"""The difference by which B's logit is below I's if a type has no label B. So a run of its words is one mention."""

NEVER = 20.0
"""The difference by which I's logit is below B's if a type has no label I."""

_TOKENIZERS = (
    *("tokenizer.json", "vocab.txt", "vocab.json"),
    *("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model"),
)
_TAG = re.compile(r"([A-Za-z])[-_](.+)")


class Tagger(NamedTuple):
    """A tag head: types in the order of their first label; rows of O, then B and I of each type.

    Attributes:
        weight: ``[1 + 2 * types, hidden]``.
        bias: ``[1 + 2 * types]``.
    """

    types: tuple[str, ...]
    weight: Tensor
    bias: Tensor


def is_tagger(config: Mapping[str, Any]) -> bool:
    """Return True if a ``config.json`` is that of a token classifier."""
    names = config.get("architectures")
    return isinstance(names, list) and any(str(name).endswith("ForTokenClassification") for name in names)


def read_tagger(info: EncoderInfo) -> Tagger:
    """Return the tag head of a token classifier. A type with I alone (IO labels) gets the row of I for B, too.

    Raises:
        UserError: the labels are not B, I and O of types, or the classifier is not one linear layer on the encoder.
    """
    labels = _labels(info)
    rows = _rows_of_types(labels, f"{info.folder / 'config.json'}: id2label")
    weight, bias = _classifier(info, len(labels))
    picked, shift = [labels.index("O")], [0.0]
    for begin, inside in rows.values():
        picked += [inside if begin is None else begin, begin if inside is None else inside]  # type: ignore[list-item]
        shift += [-INSIDE_FIRST if begin is None else 0.0, -NEVER if inside is None else 0.0]
    return Tagger(tuple(rows), weight[picked], bias[picked] + torch.tensor(shift))


def check_encoder(info: EncoderInfo, names: Iterable[str]) -> None:
    """Raise UserError if a token classifier's files lack a tokenizer, or a weight of its encoder that is in ``names``.

    transformers would make up a missing weight.
    """
    if not any((info.folder / name).is_file() for name in _TOKENIZERS):
        raise UserError(f"{info.folder}: holds no tokenizer ({', '.join(_TOKENIZERS)}); save it there, too")
    stored = {name.partition(".")[2].replace(".gamma", ".weight").replace(".beta", ".bias") for name in _names(info)}
    if missing := sorted({*names} - stored):
        raise UserError(
            f"{info.folder}: its weights lack {missing[0]}, which config.json asks for; save the model again"
        )


def _names(info: EncoderInfo) -> Iterator[str]:
    """Yield the names of the stored weights."""
    for file in sorted(info.folder.glob("*.safetensors")):
        with safetensors.safe_open(file, framework="pt") as weights:
            yield from weights.keys()


def _labels(info: EncoderInfo) -> list[str]:
    """Return the labels by number."""
    where = f"{info.folder / 'config.json'}: id2label"
    given = info.json("config.json").get("id2label")
    if not isinstance(given, dict) or {*given} != {*map(str, range(len(given)))}:
        raise UserError(f'{where}: expected a table of labels by number, as {{"0": "O", "1": "B-PER"}}')
    labels = [given[str(i)] for i in range(len(given))]
    if not all(isinstance(label, str) for label in labels) or len({*labels}) < len(labels):
        raise UserError(f"{where}: expected different texts, found {short(labels)}")
    return labels


def _rows_of_types(labels: list[str], where: str) -> dict[str, tuple[int | None, int | None]]:
    """Return for each type the numbers of its labels B and I."""
    form = 'expected "O" and labels like "B-PER" and "I-PER"'
    if "O" not in labels:
        raise UserError(f'{where}: no label "O"; {form}.{did_you_mean("O", labels)} Name the labels so in config.json')
    found: dict[str, dict[str, int]] = {}
    for number, label in enumerate(labels):
        if label == "O":
            continue
        tag = _TAG.fullmatch(label)
        if not tag:
            raise UserError(
                f"{where}: the label {short(label)} names no place in a mention; {form}. Whether such labels begin a "
                'mention or go on with one is not said; where a mention is a run of words of one label, name them "I-'
                f'{label}" and so on in config.json'
            )
        place, type_ = tag[1].upper(), tag[2]
        if place not in "BI":
            raise UserError(
                f"{where}: the label {short(label)} is of a scheme with ends or single words (BIOES, BILOU), which a "
                "head of two tags a type cannot hold: its four rows are no two. Train the classifier with B- and I- "
                "alone, or learn the old types with `bench run`"
            )
        if place in found.setdefault(type_, {}):
            raise UserError(f"{where}: two labels for {place}- of {short(type_)}")
        found[type_][place] = number
    if not found:
        raise UserError(f"{where}: no types; {form}")
    return {type_: (places.get("B"), places.get("I")) for type_, places in found.items()}


def _classifier(info: EncoderInfo, n_labels: int) -> tuple[Tensor, Tensor]:
    """Return weight ``[labels, hidden]`` and bias ``[labels]`` of the classifier, in float32."""
    found: dict[str, Tensor] = {}
    for file in sorted(info.folder.glob("*.safetensors")):
        with safetensors.safe_open(file, framework="pt") as weights:
            own = [name for name in weights.keys() if name.startswith("classifier.")]  # noqa: SIM118  it is no mapping
            found |= {name: weights.get_tensor(name).float() for name in own}
    parts = {name.partition(".")[0] for name in _names(info)}
    expected = {"classifier.weight": (n_labels, info.hidden_size), "classifier.bias": (n_labels,)}
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    if shapes != expected or len(parts) != 2:
        others = ", ".join(sorted(parts - {"classifier"})) or "none"
        raise UserError(
            f"{info.folder}: expected one linear classifier of {n_labels} labels on {info.hidden_size} values beside "
            f"an encoder; the weights have the parts {others}, and the classifier {shapes or 'is missing'}. Heads of "
            "several layers and CRFs are not read"
        )
    if not all(value.isfinite().all() for value in found.values()):
        raise UserError(f"{info.folder}: the weights of its classifier are no finite numbers; save the model again")
    return found["classifier.weight"], found["classifier.bias"]
