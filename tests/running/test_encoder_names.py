"""Encoder names: a path names a folder, anything else a repository of the hub at a commit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cl_ner_bench.errors import UserError
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.running.layers import layer
from cl_ner_bench.running.plan import make_plan
from cl_ner_bench.storage.folder import ResultsFolder
from cl_ner_bench.testing.grids import write_inputs
from cl_ner_bench.testing.tiny import tiny_encoder

OLD, NEW = "a" * 40, "b" * 40
TINY = {"layers": 2, "width": 32, "heads": 2, "vocabulary": 30522, "cased": False}


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's own cache, asked without a network: ``someone/bert`` at two commits; its main branch is at NEW."""
    import huggingface_hub.constants

    cache = tmp_path / "hub"
    repository = cache / "models--someone--bert"
    for commit, layers in ((OLD, 1), (NEW, 2)):
        folder = tiny_encoder(repository / "snapshots" / commit)
        config = folder / "config.json"
        config.write_text(json.dumps(json.loads(config.read_bytes()) | {"num_hidden_layers": layers}))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(NEW)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    encoder_info.cache_clear()
    return cache


@pytest.mark.parametrize("name", ["bert-large-cased", "models/bert-large-cased"])
def test_a_name_is_no_folder_of_the_working_directory(tmp_path: Path, name: str) -> None:
    tiny_encoder(tmp_path / "here" / name)
    with pytest.raises(UserError, match=f"There is a folder {name} here; write ./{name} to use it"):
        encoder_info(name)
    info = encoder_info(f"./{name}")
    assert (info.name, info.spec) == ("bert-large-cased", str(tmp_path / "here" / name))
    assert info.identity == {"source": "folder", **TINY}


def test_the_hub_gives_what_its_name_says_whatever_lies_here(tmp_path: Path) -> None:
    shutil.copytree(encoder_info("minilm").folder, tmp_path / "here" / "someone" / "bert")
    info = encoder_info("someone/bert")
    assert (info.name, info.spec) == ("bert", f"someone/bert@{NEW}")
    assert info.identity == {"source": "hub", "repository": "someone/bert", "revision": NEW, **TINY}


def test_a_revision_chooses_a_commit() -> None:
    info = encoder_info(f"someone/bert@{OLD}")
    assert (info.name, info.identity["revision"], info.identity["layers"]) == ("bert", OLD, 1)
    with pytest.raises(UserError, match=r"the Hugging Face hub gave no such model"):
        encoder_info(f"someone/bert@{'c' * 40}")
    with pytest.raises(UserError, match=r"or minilm\. Did you mean 'minilm'\?$"):
        encoder_info("MiniLM")


@pytest.mark.parametrize("path", ["./encoder", "../here/encoder", "{here}/encoder", "~/encoder"])
def test_ways_to_write_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    tiny_encoder(tmp_path / "here" / "encoder")
    assert encoder_info(path.format(here=tmp_path / "here")).spec == str(tmp_path / "here" / "encoder")
    with pytest.raises(UserError, match="is no folder"):
        encoder_info(path.format(here=tmp_path / "here") + "s")


def test_a_path_object_is_a_folder_however_it_is_written(tmp_path: Path) -> None:
    given = [layer({"encoder": value})[0].options.encoder for value in (Path("encoder"), "encoder")]
    assert given == [str(tmp_path / "here" / "encoder"), "encoder"]


def test_a_configuration_of_anothers_states_sizes_or_nothing(tmp_path: Path) -> None:
    config = tiny_encoder(tmp_path / "odd") / "config.json"
    odd: dict[str, Any] = {"num_attention_heads": "two", "vocab_size": 1 << 80}
    config.write_text(json.dumps(json.loads(config.read_bytes()) | odd))
    identity = encoder_info(str(tmp_path / "odd")).identity
    assert (identity["heads"], identity["vocabulary"], identity["width"]) == (None, None, 32)


def test_a_plan_names_the_commit_so_that_it_means_the_same_later(tmp_path: Path, hub: Path) -> None:
    write_inputs(tmp_path)
    given = {"dataset": str(tmp_path / "corpus"), "encoder": "someone/bert", "methods": "spankl", "recipe": "minilm"}
    plan = make_plan(layer(given)[0], ResultsFolder.open(tmp_path / "out"))
    record = plan.runs[0].record
    assert plan.options.encoder == record.inputs["encoder"] == f"someone/bert@{NEW}"
    assert record.encoder_identity is not None
    assert (record.encoder, record.encoder_identity.revision) == ("bert", NEW)
    (hub / "models--someone--bert" / "refs" / "main").write_text(OLD)
    encoder_info.cache_clear()
    again = make_plan(layer(given | {"encoder": plan.options.encoder})[0], ResultsFolder.open(tmp_path / "out"))
    assert again.runs[0].record.step_keys == record.step_keys


def test_a_path_in_a_config_file_is_relative_to_it_and_a_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "here" / "encoder").mkdir()
    for written, meant in (("./encoder", str(tmp_path / "encoder")), ("encoder", "encoder"), ("a/b", "a/b")):
        (tmp_path / "grid.toml").write_text(f'encoder = "{written}"\n')
        assert layer({}, tmp_path / "grid.toml")[0].options.encoder == meant


@pytest.mark.parametrize("partial", [False, True])
def test_downloads_go_to_the_cache(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partial: bool) -> None:
    """There is no network: a function that writes where the library would stands for the download.

    A copy in the hub's own cache that lacks the weights is no encoder.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    monkeypatch.setenv("CL_NER_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_XET_CACHE", raising=False)
    before = {*tmp_path.rglob("*")}

    def asked(repository: str, local_files_only: bool = False, **wanted: object) -> str:
        if local_files_only:
            if not partial:
                raise LocalEntryNotFoundError("nothing here")
            return str(tmp_path)
        folder = Path(constants.HF_HUB_CACHE, "models--someone--else", "snapshots", NEW)
        tiny_encoder(folder)
        for place in (constants.HF_XET_CACHE, os.environ["HF_XET_CACHE"], constants.AGENT_HARNESSES_PATH):
            assert tmp_path / "cache" in Path(place).parents
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    info = encoder_info("someone/else")
    assert info.spec == f"someone/else@{NEW}"
    assert {path.relative_to(tmp_path).parts[0] for path in {*tmp_path.rglob("*")} - before} == {"cache"}
    assert str(hub) == constants.HF_HUB_CACHE  # as it was
    assert "HF_XET_CACHE" not in os.environ
