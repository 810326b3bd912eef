"""`bench perf`: its measurements, estimates and output. Rates of a tiny encoder mean nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertModel

from cl_ner_bench import method_code, registry
from cl_ner_bench.cli import main
from cl_ner_bench.cli.perf import as_text
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.learning.batches import Batch, Example
from cl_ner_bench.learning.learner import StepData
from cl_ner_bench.learning.trainer import Trainer
from cl_ner_bench.models.heads.span import PROJECTION, SpanHead
from cl_ner_bench.profiling import perf, profile_worker
from cl_ner_bench.running.estimate import UnfinishedRun
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.runs import Run
from cl_ner_bench.testing.grids import METHODS, start, write_inputs
from cl_ner_bench.testing.tiny import RECIPE, tiny_corpus

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def options(inputs: list[str], **more: Any) -> dict[str, Any]:
    pairs = zip(inputs[::2], inputs[1::2], strict=True)
    return {flag[2:].replace("-", "_"): value for flag, value in pairs} | {"out": "nowhere"} | more


def request_of(inputs: list[str], steps: list[int], **more: Any) -> dict[str, Any]:
    run = prepare(options(inputs, **more)).runs[0]
    record = json.loads(json.dumps(run.record.to_builtins()))
    split = json.loads(json.dumps(run.split.to_json()))
    return {"record": record, "split": split, "device": "cpu", "steps": steps, "started": time.time()}


def trainer_of(method: str, encoder: str, **recipe: Any) -> Trainer:
    card = registry.methods()[method]
    return Trainer(method_code.load_class(card), card.settings, {**RECIPE, "epochs": 1, **recipe}, encoder, seed=0)


def batch_of(trainer: Trainer, sentences: list[Sentence]) -> Batch:
    tokens = trainer.learner.encoder.tokeniser.tokenise([s.words for s in sentences])
    return Batch(tuple(Example(i, s, t) for i, (s, t) in enumerate(zip(sentences, tokens, strict=True))))


# The child


def test_a_method_is_measured_at_its_first_and_a_later_step(inputs: list[str]) -> None:
    found = profile_worker.measure(request_of(inputs, [1, 2], methods="spankl", bounds="none"))
    first, later = found["training"]
    assert (first["step"], later["step"]) == (1, 2)
    assert first["updates"] == profile_worker.FEWEST
    assert profile_worker.FEWEST <= later["updates"] <= profile_worker.MOST
    for rates in (first, later):
        assert rates["sentences"] == 4 * rates["updates"], "batches of 4"
        assert rates["sub_tokens"] > 4 * rates["sentences"], "words, and the specials of each sentence"
        assert 0 < rates["slowest"] <= rates["sentences_per_second"] <= rates["fastest"]
        ratio = rates["sub_tokens_per_second"] / rates["sentences_per_second"]
        assert ratio == pytest.approx(rates["sub_tokens"] / rates["sentences"])
        assert 0 < rates["own_share"] < 1.1
    assert found["prediction"]["step"] == 2
    assert found["prediction"]["sentences"] == 12, "no more than there are"
    assert found["limit"]["share"] > 0
    shares = found["profile"]["shares"]
    assert list(shares) == [*profile_worker.GROUPS, "other"]
    assert sum(shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in shares.values()), shares
    assert 1e8 < found["memory_bytes"] < 1e11
    json.dumps(found)


def test_the_limit_is_not_claimed_where_it_is_not_known(inputs: list[str]) -> None:
    found = profile_worker.measure(request_of(inputs, [1, 2], methods="frozen-span", bounds="none"))
    assert found["limit"] == {"share": None, "unknown": "the encoder is frozen"}
    assert found["training"][1]["sentences_per_second"] > 0


def flops_by_hand(trainer: Trainer, batch: Batch) -> int:
    """The FLOPs forward and backward (twice as many again) of an update without padding, for BERT:

    linear layers of the encoder, each layer    2 T (4 h h + 2 h f)
    attention, each layer                       4 t t h, summed over windows
    head                                        2 N h c
    span scores                                 2 P 50 K

    with T sub-tokens of all windows (t in one), N words, P pairs of words, K types, encoder width h, feed-forward
    width f and c outputs of the head's linear layers.
    """
    learner = trainer.learner
    layers = learner.encoder.backbone.encoder.layer
    windows = [n for tokens in batch.tokens for n in tokens.windows]
    sizes = [(part.in_features, part.out_features) for part in layers[0].modules() if isinstance(part, nn.Linear)]
    head = [part for part in learner.head.modules() if isinstance(part, nn.Linear)]
    width = layers[0].attention.self.query.out_features
    flops = len(layers) * 2 * sum(windows) * sum(n_in * n_out for n_in, n_out in sizes)
    flops += len(layers) * 4 * width * sum(n * n for n in windows)
    flops += 2 * sum(batch.lengths) * sum(part.in_features * part.out_features for part in head)
    if isinstance(learner.head, SpanHead):
        flops += 2 * PROJECTION * learner.n_columns * sum(n * n for n in batch.lengths)
    return 3 * flops


@pytest.mark.parametrize(("method", "width"), [("finetune-token", 0), ("finetune-span", 0), ("finetune-span", 2)])
def test_the_limit_counts_the_products_of_an_update(encoder: str, method: str, width: int) -> None:
    """Without padding the FLOPs equal those of a count by hand."""
    trainer = trainer_of(method, encoder, max_span_width=width)
    words = (
        "oslo",
    ) * 6  # a sub-token each, and two specials: 32 windows of 8, and 192 words, are multiples of 64 rows
    sentences = [Sentence(i, words, (Mention(0, 1, "A"),)) for i in range(32)]
    trainer.learn(StepData(1, ("A", "B"), ("A", "B"), tuple(sentences), (), ("A", "B"), "last"))
    batch = batch_of(trainer, sentences)
    trainer.learner.train()
    limit = profile_worker.Limit(trainer.learner)
    limit(batch)
    assert limit.flops == flops_by_hand(trainer, batch)
    limit(batch)
    assert limit.flops == 2 * flops_by_hand(trainer, batch)
    found = limit.found(2 * limit.seconds)
    assert found["share"] == pytest.approx(0.5)
    assert found["gflops"] > 0


def test_a_span_limit_saves_products_in_long_sentences(encoder: str) -> None:
    flops = []
    for width in (0, 2):
        trainer = trainer_of("finetune-span", encoder, max_span_width=width)
        sentences = [Sentence(i, ("oslo",) * 126, (Mention(0, 1, "A"),)) for i in range(2)]
        trainer.learn(StepData(1, ("A",), ("A",), tuple(sentences), (), ("A",), "last"))
        trainer.learner.train()
        flops.append(profile_worker.count_flops(trainer.learner, batch_of(trainer, sentences)))
    assert flops[1] < flops[0]


def test_the_limit_is_known_for_any_encoder(encoder: str, tmp_path: Path) -> None:
    """DistilBERT, whose attention is one operation of torch."""
    config = DistilBertConfig(vocab_size=30522, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    folder = Path(shutil.copytree(encoder, tmp_path / "distilbert"))
    DistilBertModel(config).save_pretrained(folder)
    trainer = trainer_of("finetune-token", str(folder))
    sentences = [Sentence(i, ("oslo",) * 6, (Mention(0, 1, "A"),)) for i in range(8)]
    trainer.learn(StepData(1, ("A",), ("A",), tuple(sentences), (), ("A",), "last"))
    trainer.learner.train()
    limit = profile_worker.Limit(trainer.learner)
    limit(batch_of(trainer, sentences))
    layers, width, inner, columns, rows = 2, 32, 64, trainer.learner.n_columns, 8 * 8
    linear = 2 * rows * (4 * width * width + 2 * width * inner)
    scores = 2 * 8 * 8 * 8 * width
    head = 2 * 8 * 6 * width * columns
    assert limit.flops == 3 * (layers * (linear + 2 * scores) + head)


def test_a_hardly_trained_span_head_predicts_no_more_mentions_than_there_are(encoder: str) -> None:
    trainer, gold = trainer_of("finetune-span", encoder), tiny_corpus().used("test")
    types = tuple(tiny_corpus().card.types)
    trainer.learn(StepData(1, types, types, tuple(gold[:4]), (), types, "last"))
    bare = [s.only(()) for s in gold]
    mentions = sum(len(s.mentions) for s in gold)
    with torch.no_grad():
        for bias in (p for p in trainer.learner.head.parameters() if p.ndim == 1):
            bias.fill_(1.0)  # every span scores high
    assert sum(map(len, trainer.predict(bare))) > mentions + 1
    found = profile_worker.predict(trainer, gold)
    assert found["sentences"] == len(gold)
    assert 0 < sum(map(len, trainer.predict(bare))) <= mentions + 1


def test_a_sample_repeats_no_sentence_before_all_were_in_it() -> None:
    sentences = tiny_corpus(5).used("train")
    assert len({s.id for s in profile_worker.sample(sentences, 4)}) == 4
    twelve = [s.id for s in profile_worker.sample(sentences, 12)]
    assert sorted(map(twelve.count, range(5))) == [2, 2, 2, 3, 3]


# The estimate

RATES = {"sentences_per_second": 10.0, "setup_seconds_per_sentence": 0.01, "sentences": 30, "words": 60}


def test_a_sample_stands_for_the_whole_step(inputs: list[str]) -> None:
    """Step 1 at 10 sentences a second, a later one at 5, predictions at 100, of two words each."""
    run = prepare(options(inputs, methods="spankl", bounds="none")).runs[0]
    training = [{"step": 1, **RATES}, {"step": 3, **RATES, "sentences_per_second": 5.0}]
    prediction = {"sentences_per_second": 100.0, "sentences": 40, "words": 80}
    row = {"settings": run.record.settings, "training": training, "prediction": prediction}
    found = perf.as_finished(run, row)
    for learned, step, rate in zip(found, (1, 3), (10, 5), strict=True):
        train, dev, test = (words / 2 for words in run.record.words[step - 1])
        assert learned["step"] == step
        assert learned["seconds"] == pytest.approx(0.01 * train + 2 * (train / rate + dev / 100)), "two epochs"
        assert learned["predict_seconds"] == pytest.approx(test / 100)


# The command


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.main(["perf", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_measures_every_method_of_the_grid_and_writes_nothing(
    inputs: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--methods", "finetune-token", "--joint-steps", "last", "--seeds", "0,1", "--jobs", "2"]
    code, out, err = run(capsys, *inputs, *words, "--json")
    assert code == 0, err
    assert err.splitlines() == ["measuring finetune-token (1 of 2)", "measuring joint-token (2 of 2)"]
    assert not list(tmp_path.iterdir())
    report = json.loads(out)
    assert report["schema"] == 1
    chain, joint = report["methods"]
    assert [rates["step"] for rates in chain["training"]] == [1, 2]
    assert [rates["step"] for rates in joint["training"]] == [1, 3], "the last step has the most to learn"
    grid = report["grid"]
    assert (grid["runs"], grid["steps"], grid["steps_shared"], grid["jobs"]) == (4, 8, 0, 2)
    assert grid["memory_bytes"] == 2 * max(row["memory_bytes"] for row in report["methods"])
    assert grid["seconds"] > max(row["start_seconds"] for row in report["methods"])
    text = as_text(report)
    assert max(map(len, text.splitlines())) <= 100
    assert "4 runs, 8 steps to learn" in text
    assert "A sample: 3 to 8 updates" in text or "A sample: 3 updates" in text


def test_ctrl_c_ends_the_measuring_child_too(inputs: list[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in a shell's background ignore it
    process = start("perf", *inputs, "--methods", "finetune-token", "--bounds", "none", start_new_session=True)
    signal.signal(signal.SIGINT, before)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("measuring finetune-token")
    while not (children := psutil.Process(process.pid).children()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=300) == 130
    # One that was only just started heard the same signal, and may need a moment longer than its parent.
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    out, err = process.communicate()
    assert out == ""
    assert "Traceback" not in err


def test_what_cannot_be_measured_is_one_message_and_exit_code_2(
    inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *inputs, "--methods", f"{METHODS}:raises", "--bounds", "none")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: raises cannot be measured: RuntimeError: out of luck")
    code, out, err = run(capsys, *inputs, "--methods", "analytic-token", "--bounds", "none")
    assert code == 2
    assert "analytic-token cannot be measured: it makes no updates" in err
    code, out, err = run(capsys, "--methods", "spnkl")
    assert (code, out) == (2, "")
    assert "Did you mean 'spankl'" in err
    code, out, err = run(capsys, "--out", "x")
    assert code == 2
    assert "unknown argument '--out'" in err


def test_a_busy_machine_and_an_unknown_limit_are_told() -> None:
    shares = dict.fromkeys([*profile_worker.GROUPS, "other"], 1 / 6)
    rates = {"step": 1, "slowest": 1.0, "fastest": 3.0, "sentences_per_second": 2.0, "sub_tokens_per_second": 40.0}
    rates |= {"updates": 3, "left_out": 2, "sentences": 12, "sub_tokens": 240, "own_share": 0.5}
    row = {
        "name": "seqstar",
        "settings": {"precision": "fp32", "threads": 1},
        "training": [rates],
        "prediction": {"sentences_per_second": 6.0, "sentences": 16},
        "limit": {"share": None, "unknown": "the encoder is frozen"},
        "profile": {"updates": 3, "shares": shares},
        "memory_bytes": 3e9,
    }
    grid = {
        "runs": 1,
        "steps": 2,
        "steps_shared": 1,
        "sentences": 1234,
        "jobs": 1,
        "seconds": 3700,
        "memory_bytes": 3e9,
    }
    facts = {"processor": "P", "cores": 1, "memory_gb": 2.0}
    report = {"methods": [row], "grid": grid, "machine": facts, "device": "cpu"}
    text = as_text(report)
    assert "BUSY: while it was measured, a process had only 50 % of a core." in text
    assert "limit of seqstar: not known, the encoder is frozen." in text
    assert "MEMORY: " in text
    assert "1 run, 2 steps to learn and 1 shared with them; 1,234 sentences pass the model" in text
    assert "About 1 h 01 min, 1 at a time" in text
    rates["own_share"] = 1.0
    assert "BUSY" not in as_text(report)


def test_one_run_that_learns_by_gradient_is_measured_for_all(
    inputs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"methods": "analytic-token,extendner,replay+extendner", "scenario": "add-one"}
    prepared = prepare(options(inputs, **grid))
    measured = []

    def row(run: Run, device: str) -> dict[str, Any]:
        measured.append(run.record.method)
        fast = {"sentences": 10, "words": 70, "sentences_per_second": 1.0, "setup_seconds_per_sentence": 0.0}
        return {
            "training": [{"step": 1, **fast}, {"step": 2, **fast, "sentences_per_second": 0.5}],
            "prediction": {"sentences": 10, "words": 70, "sentences_per_second": 7.0},
            "settings": run.record.settings,
            "start_seconds": 3.0,
        }

    monkeypatch.setattr(perf, "_measure", row)
    rates = perf.quick_rates(prepared)
    assert measured == ["extendner"]
    assert rates.start == 3.0
    epochs = 2
    for run in prepared.runs:
        for step in run.record.steps:
            train, dev, test = run.record.words[step - 1]
            if run.record.group == "closed-form":
                expected = epochs * (train + dev) / 49 + test / 49  # 7 words in each of 7 sentences a second
            else:
                expected = epochs * (train / 7 * step + dev / 49) + test / 49
            assert rates.seconds(UnfinishedRun(run.record, ()), step) == pytest.approx(expected)
