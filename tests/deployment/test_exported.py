"""An exported folder is the model: equal predictions, nothing outside of it needed, nothing in it trusted."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tokenizers
import torch
import transformers

from cl_ner_bench import load_model
from cl_ner_bench.corpora.readers.words import cut
from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.deployment.model import Model
from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.storage.checks import sha256
from cl_ner_bench.storage.files import SEAL, pretty, sealed
from cl_ner_bench.storage.model_folder import RECORD
from cl_ner_bench.testing.chain import CORPUS, step_data
from cl_ner_bench.testing.learned import learned
from cl_ner_bench.testing.tiny import RECIPE, tiny_encoder

pytestmark = pytest.mark.slow  # models are learned

TEXTS = ["Anna went to Paris in 1990.", "carla, unbelievably, went to Oslo-Lima in 18761990", "", "boris went to Lima"]
SENTENCES = [sentence.words for sentence in CORPUS.parts["test"]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def extendner(encoder: Path) -> Model:
    return learned("extendner", encoder)


@pytest.fixture(scope="module")
def spankl(encoder: Path) -> Model:
    return learned("spankl", encoder)


@pytest.mark.parametrize("method", ["spankl", "extendner"])
def test_an_exported_model_predicts_to_the_bit_what_the_model_does_without_its_encoder(
    method: str, tmp_path: Path, encoder: Path
) -> None:
    own = Path(shutil.copytree(encoder, tmp_path / "own"))
    model = learned(method, own)
    expected = model.predict([*TEXTS, *SENTENCES])
    assert any(expected), "nothing to compare"
    model.export(tmp_path / "out")
    shutil.rmtree(own)
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    found = load_model(moved)
    assert found.predict([*TEXTS, *SENTENCES]) == expected
    assert (found.types, found.architecture, found.step) == (("PER", "LOC"), model.architecture, 2)
    assert found.history == model.history
    files = [path for path in moved.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".txt", ".md"}
    assert str(tmp_path) not in "".join(path.read_text() for path in files if path.suffix in (".json", ".md"))
    sizes = [path.stat().st_size for path in files if path.suffix == ".safetensors"]
    weights = sum(value.nbytes for value in model.trainer.state()[0].values())
    assert sum(sizes) < 1.1 * weights, "weights are stored twice"
    found.export(tmp_path / "again")
    assert load_model(tmp_path / "again").predict(SENTENCES) == expected[len(TEXTS) :]


def test_a_model_on_the_lowest_layers_of_its_encoder_is_exported_with_these_alone(
    encoder: Path, tmp_path: Path
) -> None:
    model = learned("extendner", encoder, recipe={**RECIPE, "encoder_layers": 1})
    model.export(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 1
    assert load_model(tmp_path / "out").predict(SENTENCES) == model.predict(SENTENCES)
    ours, theirs, _ = both(model, tmp_path / "out", TEXTS)
    assert theirs == ours


PROSE = """\
Mr. Fogg left Paris (the Gare de Lyon) at 8.40 p.m. on 3 October 1872; Passepartout carried the carpet-bag.
Unremarkable lieutenant-colonels, shipwrights and lamplighters crossed Oslo's Karl Johans gate in 1905.
"Anna Karenina went to Lima," said Boris, "and Dmitri's sister-in-law went to Reykjavík in 2001."
Carla's letter -- postmarked Ouagadougou, 17 November 1990 -- reached São Tomé; it weighed 12.5 g.
Gneisenau, Scharnhorst and seventeen minesweepers left Wilhelmshaven for Spitsbergen in 1943.
The Anglo-Saxon chronicler wrote of Æthelflæd, Lady of the Mercians, who went to Tamworth in 913.
In the 1876 edition, Dr. Szymborska-Kowalczyk went from Przemyśl to Oslo, Lima and (perhaps) Paris.
boris, anna; carla & dmitri: all four went to lima in 1990, to paris in 2001 and to oslo in 1876."""


def test_transformers_pipeline_finds_the_mentions_that_the_model_finds(tmp_path: Path, extendner: Model) -> None:
    texts = [*PROSE.splitlines(), *TEXTS, *map(" ".join, SENTENCES)]
    extendner.export(tmp_path / "out")
    ours, theirs, legal = both(extendner, tmp_path / "out", texts)
    assert all(legal)
    assert theirs == ours
    tokenise = extendner.trainer.learner.encoder.tokeniser.tokenise
    mentions = [(text[start:end], type) for text, found in zip(texts, ours, strict=True) for start, end, type in found]
    assert {type for _, type in mentions} == {"PER", "LOC"}
    assert any(tokenise([[word]])[0].size > 4 for word, _ in mentions), "no word of several sub-tokens"
    # A model that takes I-PER for likely begins mentions with it, which our decoder does not: the two may differ there.
    changed = load_model(tmp_path / "out")
    with torch.no_grad():
        changed.trainer.learner.head.blocks[1].bias[1] += 3
    changed.export(tmp_path / "changed")
    ours, theirs, legal = both(changed, tmp_path / "changed", texts)
    same = [a == b for a, b in zip(ours, theirs, strict=True)]
    assert not all(same)
    assert any(legal)
    assert all(a or not b for a, b in zip(same, legal, strict=True))


def both(model: Model, folder: Path, texts: list[str]) -> tuple[list[Any], list[Any], list[bool]]:
    """Return the mentions in each text as the model and the pipeline find them, and where the best tags are legal."""
    find = transformers.pipeline("token-classification", str(folder), aggregation_strategy="first")
    ours = [{(m.start, m.end, m.type) for m in found} for found in model.predict(texts, split=False)]
    theirs = [{(m["start"], m["end"], m["entity_group"]) for m in find(text)} if text else set() for text in texts]
    words = [tuple(text[start:end] for start, end in cut(text)) for text in texts]
    return ours, theirs, [not own or is_legal(model, Sentence(0, own)) for own in words]


def is_legal(model: Model, own: Sentence) -> bool:
    """Return True where the best tags of all words of a sentence form a legal BIO sequence."""
    (tokens,) = model.trainer.learner.encoder.tokeniser.tokenise([own.words])
    ((_, output),) = model.trainer.learner.outputs([Batch((Example(0, own, tokens),))])
    path = [0, *output.logits.argmax(1).tolist()]
    return all(not tag or tag % 2 or before in (tag, tag - 1) for before, tag in pairwise(path))


KINDS = {
    "o-lora+extendner": "",
    "ice": "",
    "slda": "",
    "seq-cos": "not linear",
    "ncm": "not linear",
    "addner": "a decoder of its own",
    "spankl": "a span method",
}


@pytest.mark.parametrize(("method", "why"), KINDS.items())
def test_what_is_no_tagger_of_transformers_is_not_loaded_as_one(
    method: str, why: str, tmp_path: Path, encoder: Path
) -> None:
    model = learned(method, encoder, epochs=4)
    written = model.export(tmp_path / "out")
    assert (why in written.pipeline) if why else (written.pipeline == "")
    assert load_model(tmp_path / "out").predict([*TEXTS, *SENTENCES]) == model.predict([*TEXTS, *SENTENCES])
    if why:
        with pytest.raises((OSError, ValueError)):
            transformers.pipeline("token-classification", str(tmp_path / "out"))
        return
    ours, theirs, legal = both(model, tmp_path / "out", [*map(" ".join, SENTENCES)])
    assert any(ours)
    assert all(a == b or not best for a, b, best in zip(ours, theirs, legal, strict=True))


def test_a_span_model_is_exported_without_the_import_of_transformers(
    tmp_path: Path, spankl: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # its import fails
    spankl.export(tmp_path / "model")
    assert (tmp_path / "model" / RECORD).is_file()


def test_the_pretrained_encoder_is_not_taken_from_an_exported_model(tmp_path: Path, encoder: Path) -> None:
    learned("wise-ft-token", encoder, epochs=1).export(tmp_path / "out")
    model = load_model(tmp_path / "out")
    with pytest.raises(UserError, match="an exported model does not hold"):
        model.trainer.learn(step_data(3))


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the record of an exported model as an attacker could: its checksums and its seal are right afterwards."""
    record = json.loads((folder / RECORD).read_text())
    edit(record)
    if isinstance(record.get("sha256"), dict):
        record["sha256"] = {n: sha256(folder / n) if (folder / n).is_file() else v for n, v in record["sha256"].items()}
    (folder / RECORD).write_bytes(pretty(sealed({key: value for key, value in record.items() if key != SEAL})))


def test_folders_of_others_are_one_message(tmp_path: Path, spankl: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    spankl.export(tmp_path / "sound")

    def refused(said: str, change: Callable[[Path], object], **options: Any) -> None:
        folder = Path(shutil.copytree(tmp_path / "sound", tmp_path / "copy"))
        change(folder)
        with pytest.raises(UserError, match=said):
            load_model(folder, **options)
        shutil.rmtree(folder)

    def record(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
        return lambda folder: edited(folder, edit)

    def auto_map(folder: Path) -> None:
        file = folder / "encoder" / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
        edited(folder, lambda _: None)

    def cut_short(name: str) -> Callable[[Path], object]:
        return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])

    def forged(folder: Path) -> None:
        cut_short("learner.safetensors")(folder)
        edited(folder, lambda _: None)

    refused("learner.safetensors is not what was stored", cut_short("learner.safetensors"))
    refused("config.json is missing", lambda folder: (folder / "encoder" / "config.json").unlink())
    refused("cannot be read", cut_short(RECORD))
    refused("seal is broken", lambda f: (f / RECORD).write_text((f / RECORD).read_text().replace('"PER"', '"GPE"')))
    refused("schema 9, this version reads", record(lambda r: r.update(schema=9)))
    refused("its files make no model", forged)
    refused("its files make no model", record(lambda r: r["learner"].update(types=[["PER"], ["LOC", "GPE"]])))
    refused("max_length' is missing", record(lambda r: r["model"]["settings"].pop("max_length")))
    refused("max_span_width': expected", record(lambda r: r["model"]["settings"].update(max_span_width="../../x")))
    refused("expected one of fp32, bf16", record(lambda r: r["model"]["settings"].update(precision="fp8")))
    refused("its files make no model", record(lambda r: r["shared"].update({"head.x": "nothing"})))
    refused("each of them once", record(lambda r: r["learner"].update(types=[["PER"], ["PER"]])))
    refused("names code of its own", auto_map)
    refused(
        "the encoder would read|its encoder would read", lambda f: (f / "encoder" / "x.safetensors").write_bytes(b"")
    )
    refused("holds no valid checksums", record(lambda r: r["sha256"].update({"../../x": "0" * 64})))
    refused("no checksum of", record(lambda r: r["sha256"].pop("learner.safetensors")))
    refused("a method of a file", record(lambda r: r["model"].update(spec="evil.py")))
    refused("a method of a file", record(lambda r: r["model"].update(spec="/tmp/evil")))
    refused("no method is called", record(lambda r: r["model"].update(spec="evil")))
    refused("not the one that the model was learned with", record(lambda r: r["model"].update(spec="lwf")))
    refused("not the one that the model was learned with", record(lambda r: r["model"].update(architecture="token")))
    refused("one of ., encoder|one of \\., encoder", record(lambda r: r.update(home="..")))
    refused("holds only the model after step 2", lambda _: None, step=1)
    monkeypatch.setattr("cl_ner_bench.storage.model_folder.RECORD_BYTES", 999)
    refused("more than 999 bytes", lambda _: None)


class Ran:
    """A value whose pickle makes a folder when it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(("method", "home"), [("spankl", "encoder/"), ("extendner", "")])
def test_no_pickle_is_written_or_opened(method: str, home: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    evil, folder = pickle.dumps(Ran(tmp_path / "ran")), tmp_path / "model"
    weights, beside = f"{home}model.safetensors", f"{home}pytorch_model.bin"
    request.getfixturevalue(method).export(folder)
    assert {path.suffix for path in folder.rglob("*.*")} <= {".json", ".md", ".safetensors", ".txt"}
    (folder / beside).write_bytes(evil)
    edited(folder, lambda record: record["sha256"].update({beside: ""}))
    load_model(folder)
    for name in (weights, "learner.safetensors"):
        sound = (folder / name).read_bytes()
        (folder / name).write_bytes(evil)
        edited(folder, lambda _: None)
        with pytest.raises(UserError):
            load_model(folder)
        (folder / name).write_bytes(sound)
    (folder / weights).unlink()
    edited(folder, lambda record: record["sha256"].pop(weights))
    with pytest.raises(UserError, match=f"no checksum of {weights}"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()
    pickle.loads(evil)
    assert (tmp_path / "ran").exists()  # it would have been seen


def test_a_folder_with_any_other_value_is_a_model_or_one_message(tmp_path: Path, spankl: Model) -> None:
    spankl.export(tmp_path / "out")
    whole = json.loads((tmp_path / "out" / RECORD).read_text())
    places = [*walk(whole)]
    random = Random(0)
    for place in random.sample(places, 20):
        for value in random.sample([None, -1, 1e300, "x", [], {}, [[]], "../../x"], 2):
            record = json.loads(json.dumps(whole))
            inside = record
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = value
            (tmp_path / "out" / RECORD).write_bytes(pretty(sealed(record)))
            with contextlib.suppress(UserError):
                load_model(tmp_path / "out")


def walk(value: Any, *place: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each value in JSON but the whole."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from walk(inner, *place, key)


def test_nothing_is_written_over(tmp_path: Path, spankl: Model) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds 1 file already"):
        spankl.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_other_families_become_taggers_too(family: str, tmp_path: Path, encoder: Path) -> None:
    """RoBERTa's tokenizer reads the start of a word by the space before it, so transformers is given lists of words."""
    other = tmp_path / family
    shared = {"vocab_size": 30522, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32}
    torch.manual_seed(0)
    if family == "roberta":
        config = transformers.RobertaConfig(
            **shared, intermediate_size=64, max_position_embeddings=514, dtype="float16"
        )
        transformers.RobertaModel(config, add_pooling_layer=False).save_pretrained(other)
        trained = tokenizers.ByteLevelBPETokenizer()
        beginnings = " an bo ca dm pa os li we to in 19 20 18 ."  # so that each word begins with more than its space
        trained.train_from_iterator([beginnings] * 9, 400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
        trained.save(str(other / "tokenizer.json"))
        content = json.loads((other / "tokenizer.json").read_text())
        ends = {"sep": ["</s>", 2], "cls": ["<s>", 0]}
        content["post_processor"] = {
            "type": "RobertaProcessing",
            **ends,
            "trim_offsets": True,
            "add_prefix_space": False,
        }
        (other / "tokenizer.json").write_text(json.dumps(content))
        named = {"tokenizer_class": "RobertaTokenizer", "unk_token": "<unk>"}
        (other / "tokenizer_config.json").write_text(json.dumps(named))
    else:
        config = transformers.DistilBertConfig(**shared, n_layers=1, n_heads=2, dim=32, hidden_dim=64)
        transformers.DistilBertModel(config).save_pretrained(other)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(encoder / name, other / name)
    model = learned("extendner", other)
    assert model.export(tmp_path / "out").pipeline == ""
    assert load_model(tmp_path / "out").predict(SENTENCES) == model.predict(SENTENCES)
    find = transformers.pipeline("token-classification", str(tmp_path / "out"), aggregation_strategy="first")
    sentences = [words for words in SENTENCES if is_legal(model, Sentence(0, words))]
    assert len(sentences) > 6
    for words, found in zip(sentences, model.predict(sentences), strict=True):
        starts = [0, *accumulate(len(word) + 1 for word in words)]
        expected = {(starts[m.start], starts[m.end] - 1, m.type) for m in found}
        assert {
            (m["start"], m["end"], m["entity_group"]) for m in flat(find([*words], is_split_into_words=True))
        } == expected


def flat(found: list[Any]) -> list[dict[str, Any]]:
    """Return the mentions of one list of words, which the pipeline may take for a batch."""
    return found[0] if found and isinstance(found[0], list) else found
