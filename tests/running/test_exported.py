"""An exported folder is the model: equal predictions, nothing outside of it needed, nothing in it trusted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench import load_model, method_code, registry
from cl_ner_bench.running.loaded import Model
from cl_ner_bench.storage.model_folder import LearnedStep, ModelRecord
from cl_ner_bench.testing.chain import CORPUS, chain
from cl_ner_bench.testing.tiny import RECIPE, tiny_encoder

TEXTS = ["Anna went to Paris in 1990.", "carla, unbelievably, went to Oslo-Lima in 18761990", "", "boris went to Lima"]
SENTENCES = [sentence.words for sentence in CORPUS.parts["test"]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def learned(method: str, encoder: Path, steps: int = 2, **settings: Any) -> Model:
    """Return a model that has learned PER, then LOC."""
    card = registry.resolve([method])[0].card
    trainer = chain(method, str(encoder), steps, **settings)
    record = ModelRecord(
        method=method,
        spec=card.spec,
        architecture=card.architecture,  # type: ignore[arg-type]
        seed=0,
        settings={**RECIPE, "method": {**card.settings, **settings}, "precision": "fp32", "nested": False},
        fingerprints={"method": method_code.method_fingerprint(card), "encoder": "0" * 64},
        encoder="tiny",
        history=[
            LearnedStep(step=k, types=[t], method=method) for k, t in enumerate(("PER", "LOC", "DATE")[:steps], 1)
        ],
    )
    return Model(record, trainer, card)


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
    assert not [
        path
        for path in moved.rglob("*")
        if path.is_file() and path.suffix not in (".json", ".safetensors", ".txt", ".md")
    ]
