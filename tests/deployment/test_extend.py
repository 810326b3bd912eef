"""``bench extend``: a step equals the run's own, a foreign tagger stays what it was, and misuse is one message."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from cl_ner_bench import extend, load_model
from cl_ner_bench.cli.main import main
from cl_ner_bench.corpora.division import Division
from cl_ner_bench.corpora.sentence import Mention, Sentence
from cl_ner_bench.deployment.extending import extend_model
from cl_ner_bench.deployment.new_data import read_new_data
from cl_ner_bench.deployment.retention import agreements, scores, warnings
from cl_ner_bench.deployment.transformers_models import adapt_to_iob1, foreign_model
from cl_ner_bench.errors import UserError
from cl_ner_bench.models.decoding import Prediction
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.models.tagger import read_tagger
from cl_ner_bench.testing.grids import bench, records, write_inputs
from cl_ner_bench.testing.tiny import tiny_encoder

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
Folder = Callable[..., Path]


def write_part(file: Path, sentences: Sequence[Any]) -> None:
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text("".join(json.dumps({"words": words, "mentions": mentions}) + "\n" for words, mentions in sentences))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of three steps (DATE, LOC, PER) of which all models are kept."""
    folder = tmp_path_factory.mktemp("grid")
    words = ["--methods", "spankl,extendner,ewc-token,replay-token", "--bounds", "none", "--no-report"]
    more = ["--epochs", "4", "--lr", "0.003", "--keep-models", "all", "--out", str(folder / "out")]
    done = bench("run", *write_inputs(folder), *words, *more)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def data(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentences of step 2 with its labels, in the step's order; no test part."""
    split = json.loads((run_of(grid, "spankl") / "split.json").read_text())
    assert split == json.loads((run_of(grid, "extendner") / "split.json").read_text())
    folder, task = tmp_path_factory.mktemp("data"), split["tasks"][1]
    for part in ("train", "dev"):
        rows = [json.loads(line) for line in (grid / "corpus" / f"{part}.jsonl").read_text().splitlines()]
        own = [(rows[i]["words"], [m for m in rows[i]["mentions"] if m[2] in task["types"]]) for i in task[part]]
        write_part(folder / f"{part}.jsonl", own)
    return folder


def run_of(grid: Path, method: str) -> Path:
    return grid / "out" / "runs" / str(records(grid / "out")[method]["run_id"])


# One more step


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spankl", "extendner"])
def test_a_step_on_the_model_of_step_1_is_to_the_bit_step_2_of_the_run(
    grid: Path, data: Path, tmp_path: Path, method: str
) -> None:
    model = extend(run_of(grid, method), data, step=1, out=tmp_path / "model")
    expected, facts = load_model(run_of(grid, method), step=2).trainer.state()
    start = load_model(run_of(grid, method), step=1).trainer.state()[0]
    for found in (model, load_model(tmp_path / "model")):
        tensors, own = found.trainer.state()
        assert own == facts
        assert tensors.keys() == expected.keys()
        assert all(tensors[name].equal(expected[name]) for name in expected)
    assert any(not start[name].equal(tensors[name]) for name in start), "nothing was learned"
    assert [(step.step, step.types) for step in model.history] == [(1, ["DATE"]), (2, ["LOC"])]
    assert load_model(tmp_path / "model").history == model.history
    # What it says of old types follows from the two stored models.
    rows = [json.loads(line)["words"] for line in (data / "train.jsonl").read_text().splitlines()]
    before, after = (load_model(run_of(grid, method), step=k).predict(rows) for k in (1, 2))
    old, new = ({(i, *m[:3]) for i, s in enumerate(side) for m in s if m.type == "DATE"} for side in (before, after))
    row = next(row for row in model.history[-1].agreements if row.part == "train")
    assert (row.type, row.old + row.relabelled) == ("DATE", len(old))
    assert row.both <= len(old & new)


@pytest.mark.slow
def test_two_steps_through_exported_folders_equal_the_run(grid: Path, data: Path, tmp_path: Path) -> None:
    """Another seed, or the same step again, gives another model: what equals a run is no accident."""
    first = extend(run_of(grid, "extendner"), data, step=1, out=tmp_path / "a")
    other = extend(run_of(grid, "extendner"), data, step=1, seed=7, out=tmp_path / "b")
    assert not all(v.equal(other.trainer.state()[0][k]) for k, v in first.trainer.state()[0].items())
    split = json.loads((run_of(grid, "extendner") / "split.json").read_text())["tasks"][2]
    for part in ("train", "dev"):
        rows = [json.loads(line) for line in (grid / "corpus" / f"{part}.jsonl").read_text().splitlines()]
        own = [(rows[i]["words"], [m for m in rows[i]["mentions"] if m[2] in split["types"]]) for i in split[part]]
        write_part(tmp_path / "third" / f"{part}.jsonl", own)
    second = extend(tmp_path / "a", tmp_path / "third", out=tmp_path / "c")
    expected = load_model(run_of(grid, "extendner"), step=3).trainer.state()[0]
    assert all(value.equal(expected[name]) for name, value in second.trainer.state()[0].items())
    assert [step.step for step in second.history] == [1, 2, 3]


@pytest.mark.slow
def test_another_method_of_the_architecture_goes_on(grid: Path, data: Path, tmp_path: Path) -> None:
    done = extend_model(str(run_of(grid, "ewc-token")), str(data), step=1, method="lwf", epochs=1, set=["kd_weight=2"])
    assert done.model.record.method == done.model.history[-1].method == "lwf"
    assert done.model.record.settings["method"]["kd_weight"] == 2.0
    assert any("that ewc-token keeps from step to step are left" in note for note in done.notes)
    done.model.export(tmp_path / "out")
    assert load_model(tmp_path / "out").types == ("DATE", "LOC")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "wanted", "said"),
    [
        (
            "extendner",
            "spankl",
            "a span method, and the model is of extendner, a token method; pass --method extendner",
        ),
        ("extendner", "ewc-token", "it keeps two copies of the model.* cannot start from this model of extendner"),
        ("extendner", "ocilner", "learns from sentences of earlier steps"),
        ("replay-token", None, "replay-token: it learns from sentences of earlier steps"),
        ("extendner", "joint-token", "learns from the sentences of all steps"),
        ("spankl", "single-task-span", "it starts from the pretrained encoder or"),
        ("spankl", "spankkl", "Did you mean 'spankl'"),
    ],
)
def test_a_method_that_cannot_go_on_is_refused(
    grid: Path, data: Path, method: str, wanted: str | None, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        extend_model(str(run_of(grid, method)), str(data), step=1, method=wanted)


@pytest.mark.slow
def test_wrong_use_is_refused_before_anything_is_learned(
    grid: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(run_of(grid, "extendner"))

    def refused(said: str, *words: str, place: Path = data, out: Path = tmp_path / "out") -> None:
        assert main(["extend", run, "--step", "1", "--data", str(place), "--out", str(out), *words]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()

    both = Path(shutil.copytree(grid / "corpus", tmp_path / "both"))
    refused("labels DATE (", place=both)
    refused("--types LOC,PER learns LOC, PER alone", place=both)
    refused("--types LOK: train of", "--types", "LOK")
    refused("Did you mean 'LOC'?", "--types", "LOK")
    write_part(tmp_path / "case" / "train.jsonl", [(["in", "1990"], [[1, 2, "date"]])])
    refused("labels date, and the model knows DATE", place=tmp_path / "case")
    write_part(tmp_path / "none" / "train.jsonl", [(["in", "1990"], [])])
    refused("train has no mention of any type", place=tmp_path / "none")
    write_part(tmp_path / "dev" / "dev.jsonl", [(["in", "1990"], [])])
    refused("no train file among dev.jsonl", place=tmp_path / "dev")
    refused("--data: ", place=tmp_path / "nowhere")
    refused("Did you mean 'kd_weight'?", "--set", "kd_weigth=1")
    refused("belongs to the model", "--set", "head=cosine")
    refused("--epochs '0': expected a whole number", "--epochs", "0")
    refused("expected a number", "--set", "weight_decay=x")
    refused("is not empty", out=data)
    refused("--recipe", "--recipe", "mini")
    refused("a lower --lr and --head-lr", "--lr", "1e30", "--head-lr", "1e30")


@pytest.mark.slow
def test_types_choose_what_is_learned_and_what_stays_is_said(grid: Path, tmp_path: Path) -> None:
    done = extend_model(str(run_of(grid, "extendner")), str(grid / "corpus"), step=1, types="LOC", epochs=1)
    assert done.model.types == ("DATE", "LOC")
    assert any(note.startswith("labels of other types in train are not learned from: DATE (") for note in done.notes)
    scored = {(score.part, score.type): score for score in done.model.history[-1].scores}
    assert scored["test", "LOC"].before is None
    assert scored["test", "DATE"].before is not None, "the labels of old types in dev and test are used"
    again = extend_model(str(run_of(grid, "extendner")), str(grid / "corpus"), step=2, types=["LOC", "DATE"], epochs=1)
    assert again.model.types == ("DATE", "LOC")
    assert again.model.history[-1].types == ["LOC", "DATE"]
    assert not again.model.history[-1].agreements, "no type is old and without labels"


@pytest.mark.slow
def test_a_folder_with_train_alone_keeps_the_last_epoch_and_says_so(
    grid: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(data / "train.jsonl", alone)
    words = ["extend", str(run_of(grid, "spankl")), "--step", "1", "--data", str(alone), "--epochs", "2"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "learned LOC from 8 sentences" in out
    assert "epoch 2 of 2 was kept" in out
    assert "has no dev and no test part" in err
    assert "the last epoch is kept" in err
    assert "Labels of old types are missing in train." in " ".join(out.split())


@pytest.mark.slow
def test_a_stop_leaves_nothing_behind(
    grid: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(self: object, state: dict[str, Any]) -> None:
        if "update" in state:
            raise KeyboardInterrupt

    monkeypatch.setattr("cl_ner_bench.cli.extend._Line.__call__", stop)
    words = ["extend", str(run_of(grid, "spankl")), "--step", "1", "--data", str(data)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "stopped: nothing was written\n"
    assert not (tmp_path / "out").exists()


# The data


SENTENCES = [(["in", f"{year}"], [[1, 2, "DATE"]]) for year in range(1990, 2000)]


def test_data_are_a_folder_with_the_parts_there_are_or_one_file_whole_or_divided(tmp_path: Path) -> None:
    def sizes(place: Path, division: Division | None = None) -> list[int]:
        found = read_new_data(str(place), ("PER",), None, division)
        assert found.types == ("DATE",)
        return [len(found.corpus.parts[part]) for part in ("train", "dev", "test")]

    write_part(tmp_path / "dates.jsonl", SENTENCES)
    assert sizes(tmp_path / "dates.jsonl") == [10, 0, 0]
    assert sizes(tmp_path / "dates.jsonl", Division((60, 20, 20), 1)) == [6, 2, 2]
    write_part(tmp_path / "folder" / "train.jsonl", SENTENCES)
    assert sizes(tmp_path / "folder") == [10, 0, 0]
    write_part(tmp_path / "folder" / "test.jsonl", SENTENCES[:3])
    assert sizes(tmp_path / "folder") == [10, 0, 3]
    write_part(tmp_path / "folder" / "valid.jsonl", SENTENCES[:2])
    assert sizes(tmp_path / "folder") == [10, 2, 3]
    (tmp_path / "folder" / "test.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"test.jsonl:1: "):
        sizes(tmp_path / "folder")
    (tmp_path / "folder" / "valid.jsonl").unlink()
    with pytest.raises(UserError, match=r"test.jsonl:1: "):
        sizes(tmp_path / "folder")


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.conll", "train.jsonl"])
def test_data_without_a_sentence_are_said_to_be_so(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("")
    place = tmp_path if name == "train.jsonl" else file
    with pytest.raises(UserError, match="no sentences; expected the train part here") as caught:
        read_new_data(str(place), ("PER",), None)
    assert "--parts" not in str(caught.value)


def test_a_card_names_the_types_of_data_in_which_parts_are_missing(tmp_path: Path) -> None:
    write_part(tmp_path / "train.jsonl", [(["Anna", "in", "Oslo"], [[0, 1, "Person"], [2, 3, "LOC"]])])
    card = tmp_path / "mine.toml"
    card.write_text('[tasks]\nA = ["PERSON"]\nB = ["LOC"]\n')
    found = read_new_data(str(card), ("ORG",), None)
    assert found.types == ("LOC", "PERSON")
    assert any("Person as PERSON" in note for note in found.notes)
    card.write_text('[tasks]\nB = ["LOC"]\n')
    found = read_new_data(str(card), ("ORG",), None)
    assert found.types == ("LOC",)
    assert found.corpus.parts["train"][0].mentions == ((2, 3, "LOC"),)
    assert any("left out: Person (1)" in note for note in found.notes)


# What changed


def test_agreement_takes_the_old_model_as_reference_and_sets_relabelled_mentions_aside() -> None:
    sentences = [Sentence(0, tuple("abcdef"), (Mention(0, 2, "NEW"),)), Sentence(1, tuple("abc"))]
    old = [[found(0, 1, "A"), found(2, 3, "A"), found(4, 5, "B")], [found(0, 1, "A")]]
    new = [[found(0, 2, "NEW"), found(2, 3, "A"), found(3, 4, "A")], [found(0, 1, "B")]]
    a, b = agreements({"train": sentences}, {"train": old}, {"train": new}, ["A", "B"], {"NEW"})
    assert (a.old, a.new, a.both, a.relabelled) == (2, 2, 1, 1)
    assert (b.old, b.new, b.both, b.relabelled) == (1, 1, 0, 0)
    assert (a.f1, b.f1) == (50.0, 0.0)
    assert [text.partition(":")[0] for text in warnings([a, b])] == ["A", "B"]
    same = agreements({"train": sentences}, {"train": old}, {"train": old}, ["A", "B", "C"], ())
    assert [row.f1 for row in same] == [100.0, 100.0, None]
    assert not warnings(same)


def test_scores_are_by_the_labels_of_dev_and_test_alone() -> None:
    gold = [Sentence(0, tuple("abc"), (Mention(0, 1, "A"), Mention(1, 2, "NEW")))]
    old, new = [[found(0, 1, "A")]], [[found(1, 2, "NEW"), found(2, 3, "NEW")]]
    parts = {"train": gold, "dev": [], "test": gold}
    rows = scores(
        parts, {"train": old, "dev": [], "test": old}, {"train": new, "dev": [], "test": new}, ["A", "NEW"], ["A"]
    )
    assert [(row.part, row.type, row.gold, row.before) for row in rows] == [
        ("test", "A", 1, 100.0),
        ("test", "NEW", 1, None),
    ]
    assert [row.after for row in rows] == [0.0, pytest.approx(200 / 3)]


def found(start: int, end: int, type_: str) -> Prediction:
    return Prediction(start, end, type_, 0.9)


# Taggers of transformers


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A function that writes a token classifier with these labels."""
    base = tmp_path_factory.mktemp("taggers")
    tiny_encoder(base / "encoder")

    def write(labels: Sequence[str] = LABELS, kind: str = "Bert", **changes: Any) -> Path:
        torch.manual_seed(3 if kind == "DistilBert" else 4)  # with which words have each of the labels
        folder = base / f"{kind}-{'-'.join(labels)}"
        if folder.exists():
            return folder
        shutil.copytree(base / "encoder", folder)
        if kind == "Bert":
            write_bert(folder, labels)
        else:
            write_of_transformers(folder, labels, kind, changes)
        return folder

    return write


def write_bert(folder: Path, labels: Sequence[str]) -> None:
    """Make a token classifier of the encoder in a folder, as transformers would, whose import takes seconds."""
    file = folder / "model.safetensors"
    weights = {f"bert.{name}": value for name, value in safetensors.torch.load_file(file).items()}
    weights["bert.embeddings.word_embeddings.weight"] *= 40  # else all words have one label
    weights["classifier.weight"], weights["classifier.bias"] = torch.randn(len(labels), 32), torch.zeros(len(labels))
    safetensors.torch.save_file(weights, file, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["BertForTokenClassification"]}
    if labels != [f"LABEL_{i}" for i in range(len(labels))]:  # transformers writes no names that it gave itself
        config["id2label"] = dict(enumerate(labels))
    (folder / "config.json").write_text(json.dumps(config))


def write_of_transformers(folder: Path, labels: Sequence[str], kind: str, changes: Mapping[str, int]) -> None:
    import transformers

    sizes = {"vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "DistilBert":
        sizes = {"vocab_size": 30522, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    config = getattr(transformers, f"{kind}Config")(**{**sizes, **changes}, id2label=dict(enumerate(labels)))
    model = getattr(transformers, f"{kind}ForTokenClassification")(config)
    with torch.no_grad():  # else all words have one label
        model.get_input_embeddings().weight *= 40
        model.classifier.weight *= 40
    model.save_pretrained(folder)


WORDS = ("anna", "unbelievably", "oslo", "1990", "dmitri", "went", ",", "extraordinary", "lima", "to")
TEXTS = [" ".join(words) for n in (1, 2, 3) for words in itertools.islice(itertools.permutations(WORDS, n), 0, 200, 7)]


def pipeline_mentions(folder: Path, texts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    from transformers import pipeline

    run = pipeline("token-classification", model=str(folder), aggregation_strategy="first", device="cpu")
    return [[(m["start"], m["end"], m["entity_group"]) for m in run(text)] for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
@pytest.mark.parametrize("labels", [LABELS, ["I-LOC", "O", "I-PER"]])
def test_a_tagger_finds_before_the_step_what_the_pipeline_of_transformers_finds(
    tagger: Folder, kind: str, labels: list[str]
) -> None:
    folder = tagger(labels, kind)
    model = foreign_model(folder, "paper", "cpu")
    expected = pipeline_mentions(folder, TEXTS)
    ours = [[(m.start, m.end, m.type) for m in mentions] for mentions in model.predict(TEXTS)]
    # I- that follows neither B- nor I- of its type has no place in our decoding: such sentences may differ.
    legal = [i for i, text in enumerate(TEXTS) if "B-PER" not in labels or is_legal(model, text)]
    assert sum(len(expected[i]) for i in legal) > 10, "nothing to compare"
    assert {m[2] for i in legal for m in expected[i]} == {"PER", "LOC"}
    assert [ours[i] for i in legal] == [expected[i] for i in legal]


def is_legal(model: Any, text: str) -> bool:
    from cl_ner_bench.learning.batches import Batch, Example

    learner, words = model.trainer.learner, text.split()
    (tokens,) = learner.encoder.tokeniser.tokenise([words])
    [(_, output)] = learner.outputs([Batch((Example(0, Sentence(0, tuple(words)), tokens),))])
    path = [0, *output.logits.argmax(1).tolist()]
    return all(tag % 2 or not tag or last in (tag, tag - 1) for last, tag in itertools.pairwise(path))


FAMILIES: dict[str, dict[str, int]] = {
    "Bert": {},
    "DistilBert": {},
    "Electra": {"embedding_size": 32},
    "DebertaV2": {},
    "Albert": {"embedding_size": 32},
    "MPNet": {},
    "Roberta": {"type_vocab_size": 1},
    "XLMRoberta": {"type_vocab_size": 1},
    "Camembert": {"type_vocab_size": 1},
    "BigBird": {},
    "XLNet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_tagger_of_any_family_has_the_logits_of_transformers(tagger: Folder, kind: str) -> None:
    from transformers import AutoModelForTokenClassification

    from cl_ner_bench.learning.batches import Batch, Example
    from cl_ner_bench.models.encoders.tokeniser import Tokens

    folder = tagger(LABELS, kind, **FAMILIES[kind])
    ids = torch.tensor([[101, 4698, 2253, 2000, 9527, 102]])
    tokens = Tokens(ids[0].to(torch.int32).numpy(), (6,), torch.arange(1, 5, dtype=torch.int32).numpy())
    batch = Batch((Example(0, Sentence(0, ("anna", "went", "to", "oslo")), tokens),))
    [(_, output)] = foreign_model(folder, "paper", "cpu").trainer.learner.outputs([batch])
    theirs = AutoModelForTokenClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 1:-1]
    assert expected.abs().max() > 1
    torch.testing.assert_close(output.logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_tagger_learns_a_step_and_becomes_a_model_of_ours(
    tagger: Folder, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tagger(["O", "I-PER", "I-DATE"])
    words = ["extend", str(folder), "--data", str(data), "--epochs", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert (
        "--method: a model of transformers has no method of this suite; pass --method extendner, or"
        in capsys.readouterr().err
    )
    assert main([*words, "--method", "spankl"]) == 2
    assert "a span method" in capsys.readouterr().err
    assert main([*words, "--method", "finetune", "--step", "1"]) == 2
    assert "--step 1: " in capsys.readouterr().err
    assert main([*words, "--method", "extendner", "--lr", "0", "--head-lr", "0"]) == 0
    assert "extendner, step 2: learned LOC" in capsys.readouterr().out
    model = load_model(tmp_path / "out")
    assert model.types == ("PER", "DATE", "LOC")
    assert [(step.method, step.types) for step in model.history] == [
        ("transformers", ["PER", "DATE"]),
        ("extendner", ["LOC"]),
    ]
    assert model.record.settings["recipe"] == "paper"
    kept = foreign_model(folder, "paper", "cpu").trainer.state()[0]
    assert all(value.equal(model.trainer.state()[0][name]) for name, value in kept.items()), "nothing was to be learned"


@pytest.mark.slow
def test_the_model_of_a_run_learns_the_same_as_a_tagger_of_transformers(grid: Path, data: Path, tmp_path: Path) -> None:
    """An exported folder without our record is a token classifier like any other."""
    run = run_of(grid, "extendner")
    load_model(run, step=1).export(tmp_path / "tagger")
    for ours in ("cl_ner_bench.json", "learner.safetensors"):
        (tmp_path / "tagger" / ours).unlink()
    done = extend_model(
        str(tmp_path / "tagger"),
        str(data),
        method="extendner",
        recipe="minilm",
        epochs=4,
        batch_size=4,
        lr=0.003,
    )
    assert not any("IOB1" in note for note in done.notes)
    assert done.model.types == ("DATE", "LOC")
    expected = load_model(run, step=2).trainer.state()[0]
    assert all(value.equal(expected[name]) for name, value in done.model.trainer.state()[0].items())


def test_labels_whose_mentions_begin_with_i_are_read_as_iob1(tagger: Folder) -> None:
    sentences = [Sentence(i, tuple(text.split())) for i, text in enumerate(TEXTS)]
    model = foreign_model(tagger(), "paper", "cpu")
    head = model.trainer.learner.head
    with torch.no_grad():
        head.blocks[1].bias[0::2] += 1e4
    assert adapt_to_iob1(model, sentences) == ""
    with torch.no_grad():
        head.blocks[1].bias[0::2] -= 2e4
    assert "are read as IOB1" in adapt_to_iob1(model, sentences)
    assert head.weight[1::2].equal(head.weight[2::2])
    assert adapt_to_iob1(model, sentences) == ""


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["O", "PER", "LOC"], "the label 'PER' names no place in a mention; .*name them \"I-PER\""),
        (["PER", "LOC"], 'no label "O"'),
        (["LABEL_0", "LABEL_1"], "expected a table of labels by number"),
        (["O", "B-PER", "I-PER", "E-PER", "S-PER"], "the label 'E-PER' is of a scheme with ends or single words"),
        (["O", "B-PER", "b-PER"], "two labels for B- of 'PER'"),
        (["O"], "no types"),
    ],
)
def test_labels_that_say_no_mentions_are_refused(tagger: Folder, labels: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_tagger(encoder_info(str(tagger(labels))))


def refused(said: str, folder: Path) -> None:
    with pytest.raises(UserError, match=said):
        extend_model(str(folder), "none", method="extendner")


@pytest.mark.slow  # transformers is asked, too
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_hidden_layers", 3, "its weights lack encoder.layer.2."),
        ("num_attention_heads", 7, "make no model"),
        ("vocab_size", 100, r"has the shape \(30522, 32\), but by config.json \(100, 32\)"),
        ("max_position_embeddings", 4, r"has the shape \(512, 32\), but by config.json \(4, 32\)"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_refused(
    tagger: Folder, tmp_path: Path, key: str, value: int, said: str
) -> None:
    folder = Path(shutil.copytree(tagger(), tmp_path / "tagger"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    refused(said, folder)


def test_folders_that_are_no_linear_tagger_are_refused(tagger: Folder, tmp_path: Path) -> None:
    weights = safetensors.torch.load_file(tagger() / "model.safetensors")
    for number, (change, said) in enumerate(
        {
            "head.dense.weight": "the weights have the parts bert, head",
            "classifier.dense.weight": "expected one linear classifier of 5 labels on 32 values",
        }.items()
    ):
        folder = Path(shutil.copytree(tagger(), tmp_path / str(number)))
        safetensors.torch.save_file({**weights, change: torch.zeros(2, 2)}, folder / "model.safetensors")
        refused(said, folder)
    folder = Path(shutil.copytree(tagger(), tmp_path / "damaged"))
    (folder / "model.safetensors").write_bytes(b"?")
    refused("is a damaged safetensors file", folder)
    folder = Path(shutil.copytree(tagger(), tmp_path / "pickled"))
    other = Path(shutil.copytree(tagger(), tmp_path / "nan"))
    spoiled = {**weights, "classifier.bias": weights["classifier.bias"] / 0 * 0}
    safetensors.torch.save_file(spoiled, other / "model.safetensors")
    refused("no finite numbers", other)
    for name, said in {"tokenizer.json": "make no model", "no": "holds no tokenizer"}.items():
        other = Path(shutil.copytree(tagger(), tmp_path / f"tokens-{name}"))
        (other / "vocab.txt").unlink()
        (other / "tokenizer.json").unlink()
        if name == "tokenizer.json":
            (other / name).write_text('{"model": {}}')
        refused(said, other)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused("holds no \\*.safetensors weights. Pickled weights are not loaded", folder)
    config = json.loads((folder / "config.json").read_text())
    own = Path(shutil.copytree(tagger(), tmp_path / "own"))
    code = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForTokenClassification": "mine.M"}}
    (own / "config.json").write_text(json.dumps(config | code))
    (own / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    refused("Code that a model brings is never run", own)
    assert not (tmp_path / "ran").exists()
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    refused("its architectures name no ...ForTokenClassification", folder)
    (folder / "config.json").write_text("{")
    refused("cannot be read as JSON", folder)
    refused("expected the folder of a run", tmp_path)
