"""The model card: what is known stands in it, what is not known is left out, names from others do nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from huggingface_hub import ModelCard

from cl_ner_bench import registry
from cl_ner_bench.deployment.model_card import model_card
from cl_ner_bench.storage.model_folder import Agreement, ExportedModel, LearnedStep, LearnerFacts, ModelRecord, Score
from cl_ner_bench.storage.run_record import EncoderIdentity

CARD = registry.methods()["extendner"]


def exported(pipeline: str = "", **known: Any) -> ExportedModel:
    record = ModelRecord(
        method="extendner",
        spec="extendner",
        architecture="token",
        seed=3,
        settings={"method": {"kd_weight": 0.5}, "epochs": 7},
        fingerprints={"method": "1" * 64, "encoder": "2" * 64},
        encoder="tiny",
        history=[
            LearnedStep(step=1, types=["PER", "LOC"], method="extendner", dataset="news", data="3" * 64, sentences=1234)
        ],
    )
    learner = LearnerFacts([["PER", "LOC"]])
    return ExportedModel(
        model=msgspec.structs.replace(record, **known), learner=learner, home=".", shared={}, pipeline=pipeline
    )


def front(card: str) -> dict[str, Any]:
    """Return the front matter, as the hub's own library reads it, too."""
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    assert ModelCard(card).data.to_dict() == found
    return found


def test_what_is_known_stands_in_the_card() -> None:
    card = model_card(exported(counts={"test": {"PER": (3, 1, 2), "LOC": (0, 0, 0)}}), CARD)
    assert "| 1 | `PER`, `LOC` | `news` | 1,234 | `extendner` |" in card
    assert "| `PER` | 66.7 | 75.0 | 60.0 | 5 |" in card
    assert "| `LOC` | undefined | undefined | undefined | 0 |" in card
    assert "| all types (micro) | 66.7 | 75.0 | 60.0 | 5 |" in card
    assert "AAAI 2021" in card
    assert "| `kd_weight` | `0.5` |" in card
    assert "unknown, ask who made it" in card
    assert "3" * 64 in card
    assert front(card).keys() == {"library_name", "pipeline_tag", "tags"}  # no language, licence, origin of the encoder


def test_the_origin_of_encoder_and_data_is_that_of_the_hub() -> None:
    hub = EncoderIdentity(
        source="hub", repository="org/name", revision="a", layers=1, width=1, heads=1, vocabulary=1, cased=True
    )
    history = [LearnedStep(step=1, types=["PER"], method="m", dataset="d", hub="org/data", licence="CC BY 4.0")]
    card = model_card(exported("it is a span method", encoder_identity=hub, history=history), CARD)
    assert front(card)["base_model"] == ["org/name"]
    assert front(card)["datasets"] == ["org/data"]
    assert front(card)["library_name"] == "cl_ner_bench"
    assert "pipeline_tag" not in front(card)
    assert "from transformers import" not in card
    assert "transformers does not load it: it is a span method." in card
    assert "CC BY 4.0" in card


def test_a_step_outside_of_a_benchmark_shows_what_it_changed() -> None:
    step = LearnedStep(
        step=2,
        types=["GPE"],
        method="lwf",
        agreements=[Agreement("train", "PER", 4, 2, 2, 0)],
        scores=[Score("train", "GPE", 10, None, 50.0)],
    )
    card = model_card(exported(history=[*exported().model.history, step]), CARD)
    assert "was not scored on a test set" in card
    assert "Dev may have chosen" not in card
    assert "| `train` | `PER` | 4 | 2 | 2 | 66.7 |" in card
    assert "| `train` | `GPE` | 10 | new | 50.0 |" in card


def test_a_step_that_was_scored_on_a_test_part_says_on_which_labels() -> None:
    found = [Score(part, "GPE", 10, None, 50.0) for part in ("dev", "test")]
    step = LearnedStep(step=2, types=["GPE"], method="lwf", dataset="mine", scores=found)
    card = model_card(exported(history=[*exported().model.history, step]), CARD)
    assert "not scored" not in card
    assert "On the labels of `mine`, the data of the last step" in card
    assert "Dev may have chosen the epoch" in card


def test_names_of_others_do_nothing() -> None:
    evil = 'x`|<script>\n---\nlicense: "mit"\n# y'
    history = [LearnedStep(step=1, types=[evil], method=evil, dataset=evil, hub=evil, licence=evil)]
    counts = {evil: {evil: (1, 0, 0)}}
    found = exported(history=history, counts=counts, method=evil, encoder=evil, run_id=evil, notes=[evil])
    card = model_card(msgspec.structs.replace(found, learner=LearnerFacts([[evil]])), CARD)
    assert front(card).keys() == {"library_name", "pipeline_tag", "tags", "datasets"}
    rest = card.split("---\n", 2)[2]
    assert not [line for line in rest.splitlines() if line.startswith(("license", "---", "# y"))]
    assert "<script>" not in "".join(part for i, part in enumerate(rest.replace("``", "\0").split("\0")) if i % 2 == 0)
