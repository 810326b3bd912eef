"""The plan of a grid: the config of each run, and the steps of earlier commands that it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from cl_ner_bench.cli.preview import preview
from cl_ner_bench.corpora.card import UNSTATED, Card
from cl_ner_bench.corpora.cards import recipe_names
from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders import info
from cl_ner_bench.running.grid import prepare
from cl_ner_bench.running.layers import layer, read_config
from cl_ner_bench.running.merge import merge
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.running.runs import Run
from cl_ner_bench.storage.folder import ResultsFolder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"words": ["a"], "mentions": [[0, 1, t]]} for t in ("PER", "LOC", "DATE") * 8]
    for part in ("train", "dev", "test"):
        (folder / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"dataset": str(folder), "methods": "joint-token", "bounds": "none"}


def planned(inputs: dict[str, Any], out: Path, **options: Any) -> Run:
    (run,) = make_plan(layer(inputs | options)[0], ResultsFolder.open(out)).runs
    return run


def test_a_folder_without_a_card_has_defaults(inputs: dict[str, Any], tmp_path: Path) -> None:
    assert make_plan(layer(inputs)[0], ResultsFolder.open(tmp_path)).origins["joint_steps"] == "default"


def test_the_weights_of_an_encoder_are_read_once_for_all_runs(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    feed = info._feed
    monkeypatch.setattr(info, "_feed", lambda digest, files: (read.extend(files), feed(digest, files)))
    info.encoder_info.cache_clear()
    options = inputs | {"methods": "joint-token,joint-span", "set": ["joint-span.encoder_layers=2"]}
    assert len(make_plan(layer(options)[0], ResultsFolder.open(tmp_path)).runs) == 2
    assert [path.suffix for path in read].count(".safetensors") == 1


def test_paths_of_a_config_file_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        (folder / "corpus").mkdir(parents=True)
        (folder / "words.txt").write_text("a b\n")
    monkeypatch.chdir(elsewhere)
    (home / "bench.toml").write_text(
        'dataset = "corpus"\nmethods = ["mine=smooth.py+extendner", "spankl"]\nscenario = "my.toml"\n'
        '[set.mine]\nrehearsal_text = "words.txt"\nexemplar_choice = "random"\n'
    )
    (keys,) = read_config(home / "bench.toml")
    assert keys == {
        "dataset": str(home / "corpus"),
        "methods": (f"mine={home / 'smooth.py'}+extendner", "spankl"),
        "scenario": str(home / "my.toml"),
        "set": {"mine": {"rehearsal_text": str(home / "words.txt"), "exemplar_choice": "random"}},
    }
    for dataset, read_as in (("wnut17", "wnut17"), ("./absent", str(home / "absent"))):
        (home / "bench.toml").write_text(f'dataset = "{dataset}"\n')
        assert read_config(home / "bench.toml") == [{"dataset": read_as}]


def test_a_sample_as_large_as_the_corpus_is_none(inputs: dict[str, Any], tmp_path: Path) -> None:
    whole, same, part = (planned(inputs, tmp_path, max_sentences=n).record for n in (None, 24, 23))
    assert whole.run_id == same.run_id != part.run_id
    assert [r.settings["max_sentences"] for r in (whole, same, part)] == [None, None, 23]


def test_a_record_tells_its_corpus_from_the_published_one(inputs: dict[str, Any], tmp_path: Path) -> None:
    card = Path(inputs["dataset"]) / "card.toml"
    card.write_text("[counts]\ntrain = { sentences = 25 }\n")
    corpus = planned(inputs, tmp_path, dataset=str(card), tasks="PER;LOC").record.corpus
    assert corpus is not None
    assert to_builtins(corpus) == {
        "differences": ["train: 24 sentences, published are 25"],
        "accepted": [],
        "n_mentions": {"train": 24, "dev": 24, "test": 24},
        "without_task": {"DATE": {"train": 8, "dev": 8, "test": 8}},
        "test_copies": 0,
    }


def test_tasks_by_hand_in_another_order_are_another_config(inputs: dict[str, Any], tmp_path: Path) -> None:
    one, two, spaced = (
        planned(inputs, tmp_path, tasks=tasks).record.config
        for tasks in ("PER;LOC;DATE", "DATE;LOC;PER", "PER; LOC; DATE")
    )
    assert one == spaced != two


def test_tasks_by_hand_order_the_types_of_increments(inputs: dict[str, Any], tmp_path: Path) -> None:
    run = planned(inputs, tmp_path, scenario="fg2-pg1", tasks="PER;LOC,DATE")
    assert [t.types for t in run.record.tasks] == [["PER", "LOC"], ["DATE"]]
    assert run.record.order_of == "types"
    assert planned(inputs, tmp_path, tasks="PER;LOC;DATE").record.order_of == "tasks"


def test_what_a_scenario_file_means_is_part_of_the_config(inputs: dict[str, Any], tmp_path: Path) -> None:
    def config(text: str, tasks: str | None = None) -> str:
        file = tmp_path / "mine.toml"
        file.write_text(text)
        return str(planned(inputs, tmp_path, scenario=str(file), tasks=tasks).record.config)

    assert config('like = "filter"') == config('like = "filter"\nassign = "filter"') != config("shots = 2")
    assert config("shots = 2", "PER;LOC;DATE") != config("shots = 2", "DATE;LOC;PER")


def test_a_protocol_is_part_of_every_steps_key(inputs: dict[str, Any], tmp_path: Path) -> None:
    keys = []
    for selection in ("macro", "last"):
        file = tmp_path / f"{selection}.toml"
        file.write_text(f'selection = "{selection}"')
        keys.append(planned(inputs, tmp_path, scenario=str(file)).record.step_keys)
    assert all(keys[0][step] != keys[1][step] for step in keys[0])


@pytest.mark.slow
def test_only_flat_predictions_have_a_ceiling(inputs: dict[str, Any], tmp_path: Path) -> None:
    span = inputs | {"methods": "spankl"}
    assert planned(span, tmp_path).record.recall_ceiling == 1
    assert planned(span, tmp_path, nested=True).record.recall_ceiling is None
    assert planned(inputs, tmp_path, nested=True).record.recall_ceiling == 1
    generated = inputs | {"dataset": "synthetic", "max_span_width": 1}  # has mentions of several words
    limited = planned(generated | {"methods": "spankl"}, tmp_path).record.recall_ceiling
    assert 0 < limited < 1
    assert planned(generated | {"methods": "spankl"}, tmp_path, nested=True).record.recall_ceiling == limited
    assert planned(generated, tmp_path).record.recall_ceiling == 1  # tag methods have no limit


def test_a_training_check_is_not_forgotten_when_steps_are_added(inputs: dict[str, Any], tmp_path: Path) -> None:
    checked = planned(inputs, tmp_path, training_check=True, joint_steps="last")
    checked.folder.save(checked.record)
    (run,) = merge([planned(inputs, tmp_path, joint_steps="all")], ResultsFolder.open(tmp_path))
    assert run.record.steps == [1, 2, 3]
    assert run.record.settings["training_check"]


def test_the_reference_profile_takes_nothing_that_changes_training(inputs: dict[str, Any], tmp_path: Path) -> None:
    plain, exact = (planned(inputs, tmp_path, exact=value).record for value in (False, True))
    assert plain.config != exact.config
    assert plain.setting != exact.setting
    with pytest.raises(UserError, match="joint-token has pool 8, which changes training; pass --pool 1"):
        planned(inputs, tmp_path, exact=True, pool=8)


@pytest.mark.slow
def test_the_default_grid_trains_joint_models_at_the_last_step(tmp_path: Path) -> None:
    """As its card says; warm ones, and those of a corpus whose card says nothing, at every step."""
    for given, steps, origin in (
        ({}, [3], "card synthetic"),
        ({"joint_steps": "all"}, [1, 2, 3], "flag"),
    ):
        plan = make_plan(
            layer({"methods": "spankl,joint-span,joint-span-warm", **given})[0], ResultsFolder.open(tmp_path)
        )
        assert {run.record.method: run.record.steps for run in plan.runs} == {
            "spankl": [1, 2, 3],
            "joint-span": steps,
            "joint-span-warm": [1, 2, 3],
        }
        assert plan.origins["joint_steps"] == origin
    assert "joint_steps     last  [card synthetic]" in preview(prepare({"out": str(tmp_path / "out")}))
    assert Card("mine", "Mine").joint_steps == "all"


def trained(run: Run, *keys: str) -> list[Any]:
    return [run.record.settings.get(key) for key in keys]


def test_values_that_a_recipe_leaves_out_are_stored_nowhere(inputs: dict[str, Any], tmp_path: Path) -> None:
    """So the keys of steps stay what they were before there were such values."""
    plain = planned(inputs, tmp_path)
    assert not UNSTATED.keys() & plain.record.settings.keys()
    said = planned(inputs, tmp_path, set=["joint-token.head=linear", "joint-token.schedule=cosine"])
    assert (said.record.step_keys, said.record.by_hand) == (plain.record.step_keys, {})
    changed = {
        key: planned(inputs, tmp_path, set=[f"joint-token.{key}={value}"]).record
        for key, value in {
            "head": "cosine",
            "optimizer": "sgd",
            "decayed": "all",
            "encoder_layers": 2,
            "head_weight_decay": 0.2,
        }.items()
    }
    for key, record in changed.items():
        assert record.step_keys["1"] != plain.record.step_keys["1"], key
        assert list(record.by_hand) == [key]


def test_a_familys_recipe_holds_for_its_protocols_and_methods(inputs: dict[str, Any], tmp_path: Path) -> None:
    given = inputs | {"recipe": "cfner", "methods": "extendner"}
    keys = ("optimizer", "head", "new_rows", "old_rows", "first_lr", "lr", "clip", "epochs")
    two, one, seen = (planned(given, tmp_path, scenario=f"fg1-pg{n}") for n in ("2", "1", "1-seen"))
    assert trained(two, *keys) == ["sgd", "cosine", "imprint", "frozen", 2e-3, 4e-4, 0, 20]
    assert trained(one, *keys) == trained(seen, *keys) == ["sgd", "cosine", "imprint", "frozen", 2e-3, 4e-4, 0, 10]
    assert (one.record.by_hand, planned(given, tmp_path, epochs=3).record.by_hand) == ({}, {"epochs": 3})
    tbcl = planned(given, tmp_path, methods="tbcl")
    assert trained(tbcl, "first_lr", "lr") == [4e-4, 4e-4]
    assert tbcl.record.by_hand == {}


def test_gaps_compare_what_a_recipe_gives_each_method_but_not_values_by_hand(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    """So methods of a tuned recipe have a gap to joint training with its own tuned values."""

    def setting(method: str, **given: Any) -> str:
        return planned(inputs | {"methods": method}, tmp_path, **given).record.setting

    assert setting("joint-token", recipe="recall") == setting("cfner", recipe="recall")  # whose card freezes old rows
    assert setting("joint-token", recipe="recall") != setting("cfner", recipe="recall", lr=0.5)
    assert setting("joint-token", lr=0.5) == setting("extendner", lr=0.5)
    files = [tmp_path / f"{name}.toml" for name in ("one", "two")]
    for file, rate in zip(files, (0.1, 0.2), strict=True):
        text = f'schema = 1\nname = "tuned"\nbase = "minilm"\n[methods.joint-token]\nlr = {rate}\n[methods.extendner]\n'
        file.write_text(text + "lr = 0.3\n")
    one, two = ({"recipe": str(file)} for file in files)
    assert setting("joint-token", **one) == setting("extendner", **one) != setting("extendner", **two)
    assert setting("joint-token", **one) != setting("extendner", **one, lr=0.5)


def test_a_recipe_of_one_method_is_for_no_other(inputs: dict[str, Any], tmp_path: Path) -> None:
    ice = planned(inputs, tmp_path, methods="ice", recipe="ice")
    assert trained(ice, "epochs", "batch_size", "head_lr", "schedule") == [15, 8, 1e-4, "constant"]
    with pytest.raises(UserError, match="no recipe 'ice' "):
        planned(inputs, tmp_path, recipe="ice")


@pytest.mark.parametrize("name", recipe_names(Card("x", "X")))
def test_every_recipe_is_whole_for_token_methods(inputs: dict[str, Any], tmp_path: Path, name: str) -> None:
    assert planned(inputs, tmp_path, recipe=name).record.settings["recipe"] == name


def test_a_dry_run_shows_where_the_values_of_a_recipe_come_from(inputs: dict[str, Any], tmp_path: Path) -> None:
    options = inputs | {"recipe": "cfner", "methods": "extendner,tbcl", "scenario": "fg2-pg1", "out": str(tmp_path)}
    shown = preview(prepare(options))
    assert "  optimizer       sgd  [recipe cfner]" in shown
    assert "  old_rows        frozen  [recipe cfner]" in shown
    assert "  first_lr        0.002  [recipe cfner]" in shown
    assert "  first_lr        0.0004  [recipe cfner of tbcl's card]" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": "spankl", "recipe": "cfner"}, "cfner: a recipe for token methods, and spankl is a span"),
        ({"recipe": "cfnr"}, "no recipe 'cfnr' .*Did you mean 'cfner'"),
        ({"set": ["joint-token.head=round"]}, "--set joint-token.head: key 'head': expected .*linear"),
        ({"set": ["joint-token.head_weight_decay=-1"]}, "expected a number of at least 0, found -1"),
        ({"set": ["joint-token.new_rows=imprint"]}, "joint-token: new_rows imprint needs head cosine, not linear"),
        ({"methods": "spankl", "set": ["spankl.head=cosine"]}, "head cosine is of token methods, and spankl is none"),
        ({"set": ["joint-token.span_prior=0.1"]}, "span_prior is of span methods, and joint-token is none"),
        ({"methods": "spankl", "set": ["spankl.span_prior=1"]}, "expected a number from 0 to below 1, found 1"),
        ({"set": ["joint-token.encoder_layers=7"]}, "encoder_layers 7: minilm has 6; set it to fewer"),
        ({"lr": 0, "recipe": "cfner"}, "first_lr is a multiple of lr, which is 0"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(
    inputs: dict[str, Any], tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        planned(inputs, tmp_path, **options)


def test_a_newcomer_is_an_order_and_a_replayed_split_stays_one(inputs: dict[str, Any], tmp_path: Path) -> None:
    run = planned(inputs, tmp_path, scenario="add-one-k3", orders="1")
    assert [(t.name, t.types) for t in run.record.tasks] == [("all but LOC", ["DATE", "PER"]), ("LOC", ["LOC"])]
    assert run.record.order_of == "newcomer"
    (tmp_path / "split.json").write_text(json.dumps(run.split.to_json()))
    again = planned(inputs, tmp_path, split=str(tmp_path / "split.json"))
    assert again.split == run.split
    assert (again.record.order_of, again.record.step_keys) == ("newcomer", run.record.step_keys)
    config = tmp_path / "grid.toml"
    config.write_text('scenario = "add-one-k3"\norders = [1]\n')
    (layered,) = layer(inputs, config)
    (same,) = make_plan(layered, ResultsFolder.open(tmp_path)).runs
    assert same.id == run.id
