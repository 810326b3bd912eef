"""`bench run`, `bench tune` and `bench extend` as functions, and ``load_model``."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Container, Mapping, Sequence
from functools import wraps
from inspect import signature
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from cl_ner_bench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from cl_ner_bench.analysis.data.frames import Results
    from cl_ner_bench.deployment.model import Model

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
_Path = str | PathLike[str]
_FLAG = re.compile(r"`[^`]*`|(?<!\w)--([a-z][a-z-]*)")  # not within a command that a message quotes


def _for_python(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function suggest a name for an unknown argument, and speak of arguments, not of flags, in a UserError."""
    known = signature(function).parameters

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        for name in named.keys() - known.keys():
            raise TypeError(f"{function.__name__}() has no argument {name!r}.{did_you_mean(name, known.keys())}")
        try:
            return function(*args, **named)
        except UserError as error:
            raise UserError(as_arguments(str(error), known)) from error

    return call


@_for_python
def run(
    methods: _Path | Sequence[_Path] | None = None,
    *,
    bounds: Literal["auto", "none"] | None = None,
    set: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
    dataset: _Path | None = None,
    data: _Path | None = None,
    parts: str | Sequence[int] | None = None,
    tasks: str | Sequence[Sequence[str]] | None = None,
    scenario: _Path | None = None,
    orders: Sequence[int] | Literal["all"] | None = None,
    split_seed: int | None = None,
    split: _Path | None = None,
    max_sentences: int | None = None,
    seeds: Sequence[int] | None = None,
    encoder: _Path | None = None,
    recipe: _Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    head_lr: float | None = None,
    warmup_share: float | None = None,
    warmup_updates: int | None = None,
    clip: float | None = None,
    max_length: int | None = None,
    max_span_width: int | None = None,
    pool: int | None = None,
    joint_steps: Literal["all", "last"] | None = None,
    training_check: bool | None = None,
    nested: bool | None = None,
    device: str | None = None,
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    exact: bool | None = None,
    threads: int | None = None,
    jobs: int | None = None,
    gpus_per_run: float | None = None,
    backend: Literal["loky", "dask", "ray", "slurm"] | None = None,
    scheduler: str | None = None,
    slurm: Mapping[str, Any] | Sequence[str] | None = None,
    timeout: float | None = None,
    out: _Path | None = None,
    replace: _Path | Sequence[_Path] | None = None,
    store: str | None = None,
    checkpoint_seconds: float | None = None,
    keep_models: Literal["last", "all", "none"] | None = None,
    no_report: bool | None = None,
    tracker: Literal["mlflow", "wandb", "tensorboard", "trackio"] | None = None,
    config: _Path | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Any:
    """Train and compare methods, as `bench run` does.

    A further call with the same ``out`` adds runs to that folder, and does not repeat finished steps.

    The arguments are the options of the command. None means "not given": the value then comes from ``config``, else
    from the recipe, else from the defaults of `bench run --help`.

    Args:
        methods: names of `bench list methods`, patterns like ``*-token``, ``FILE.py`` or ``FILE.py:NAME``;
            ``LABEL=METHOD`` names a variant.
        bounds: ``auto`` adds the joint bound of each architecture in use.
        set: hyper-parameters of methods, ``{"spankl": {"kd_weight": 0}}``.
        dataset: a name of `bench list datasets`, a card, a folder with train, dev and test files, or other files
            with ``parts``.
        data: your own copy of the corpus.
        parts: divide files into train, dev and test by these percentages, ``(80, 10, 10)``, or take missing parts
            from train.
        tasks: the tasks in their order, ``[["ORG"], ["GPE", "DATE"]]`` or ``"ORG;GPE,DATE"``.
        scenario: ``split``, ``filter``, ``fgA-pgB``, ``add-one``, ``domains`` or another name of
            `bench list scenarios`, or a TOML file.
        orders: numbers of the task orders, or ``all``: every order of the card.
        split_seed: random seed of the task split, of ``parts`` and of ``max_sentences``.
        split: the file of a task split that `bench data split` wrote.
        max_sentences: use a random sample of so many train sentences, and of dev and test in proportion; every output
            says so.
        seeds: random seeds of weights, dropout and shuffling; each seed gives a run.
        encoder: ``minilm``, a Hugging Face encoder, or a folder.
        recipe: a recipe of the dataset's card, or a file that ``tune`` wrote.
        epochs: epochs per step.
        batch_size: sentences per batch.
        lr: learning rate of the encoder.
        head_lr: learning rate of the head.
        warmup_share: share of a step's updates in which the learning rates rise to their full values.
        warmup_updates: longest warm-up, in updates.
        clip: clip the norm of the gradient to this; 0: no clipping.
        max_length: longest window, in sub-tokens.
        max_span_width: longest span that span methods score, in words; 0: no limit.
        pool: sort the sentences of so many batches by length, then batch them.
        joint_steps: train joint models at ``all`` steps or at the ``last``.
        training_check: also train step 1 for twice the epochs, to see if a run is undertrained.
        nested: keep nested predictions of span methods.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: number format of training.
        exact: disable all approximations.
        threads: CPU threads per run.
        jobs: runs at a time.
        gpus_per_run: share of a GPU per run.
        backend: where the runs are trained: on this machine (``loky``), or on a cluster.
        scheduler: address of a running dask or ray cluster.
        slurm: parameters of sbatch, ``{"partition": "gpu"}``.
        timeout: time limit of a step, in seconds; a run that exceeds it fails.
        out: results folder.
        replace: methods to learn again if their runs in ``out`` have other settings or code.
        store: URL of an object store, through which machines share results.
        checkpoint_seconds: shortest time between two checkpoints of a step.
        keep_models: keep the model of each run's ``last`` step, of ``all`` steps, or ``none``.
        no_report: write no CSV files, tables, figures or report.html.
        tracker: also send the scores of every finished step to this experiment tracker.
        config: a TOML file of these options, such as the ``experiment.toml`` of a results folder.
        quiet: show no progress.
        dry_run: train nothing, write nothing, and return the resolved plan as text.

    Returns:
        All results of the folder (``Results``); ``Results.runs`` lists failed runs, too. With ``dry_run``: the plan as
        text.

    Raises:
        UserError: the call cannot be carried out as asked; the command would end with exit code 2.
        KeyboardInterrupt: Ctrl-C stopped the call; the same call resumes.
    """
    given = {name: value for name, value in locals().items() if name not in ("config", "quiet", "dry_run")}

    from cl_ner_bench.running import grid

    prepared = grid.prepare(given, None if config is None else fspath(config))
    if dry_run:
        from cl_ner_bench.cli.preview import preview

        return preview(prepared)

    from cl_ner_bench.analysis.data.frames import load_results
    from cl_ner_bench.cli.live import progress_on_stderr

    outcome = grid.carry_out(prepared, None if quiet else progress_on_stderr)
    if outcome.code >= 128:
        raise KeyboardInterrupt
    return load_results(outcome.out)


@_for_python
def tune(
    methods: _Path | Sequence[_Path] | None = None,
    *,
    trials: int = 20,
    objective: Literal["all", "label-free"] = "all",
    seed: int = 0,
    bounds: Literal["auto", "none"] | None = None,
    set: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
    dataset: _Path | None = None,
    data: _Path | None = None,
    parts: str | Sequence[int] | None = None,
    tasks: str | Sequence[Sequence[str]] | None = None,
    scenario: _Path | None = None,
    max_sentences: int | None = None,
    encoder: _Path | None = None,
    recipe: _Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    head_lr: float | None = None,
    max_length: int | None = None,
    max_span_width: int | None = None,
    nested: bool | None = None,
    device: str | None = None,
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    exact: bool | None = None,
    threads: int | None = None,
    jobs: int | None = None,
    gpus_per_run: float | None = None,
    timeout: float | None = None,
    checkpoint_seconds: float | None = None,
    out: _Path | None = None,
    quiet: bool = False,
) -> Path:
    """Choose hyper-parameters with equally many trials for each method, as `bench tune` does.

    A further call with the same ``out`` resumes or adds trials, and does not repeat finished ones.

    Args:
        methods: methods to tune, as in ``run``.
        trials: trials of each method.
        objective: the score on dev to maximise. ``all`` uses labels of old types, which a deployed learner does not
            have; ``label-free`` does not use them.
        seed: random seed of the sampler.
        bounds: ``auto`` tunes the joint bound of each architecture in use, too.
        set: fixed hyper-parameters of methods, ``{"spankl": {"kd_weight": 1}}``.
        dataset: as in ``run``.
        data: your own copy of the corpus.
        parts: shares of train, dev and test in percent.
        tasks: the tasks, as in ``run``, in the order for tuning.
        scenario: as in ``run``, except ``add-one``.
        max_sentences: use a random sample of so many train sentences, and of dev in proportion.
        encoder: ``minilm``, a Hugging Face encoder, or a folder.
        recipe: the recipe to start from.
        epochs: fixed number of epochs per step.
        batch_size: fixed number of sentences per batch.
        lr: fixed learning rate of the encoder.
        head_lr: fixed learning rate of the head.
        max_length: longest window, in sub-tokens.
        max_span_width: longest span that span methods score, in words; 0: no limit.
        nested: keep nested predictions of span methods.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: number format of training.
        exact: disable all approximations.
        threads: CPU threads per run.
        jobs: trials at a time.
        gpus_per_run: share of a GPU per trial.
        timeout: time limit of a step, in seconds; a trial that exceeds it fails and scores 0.
        checkpoint_seconds: shortest time between two checkpoints of a step.
        out: results folder of the trials (default: ``results/tune-DATASET-SCENARIO``).
        quiet: show no progress.

    Returns:
        The recipe file, for ``run(recipe=...)``. ``load_results(out).trials`` holds the records of the trials.

    Raises:
        UserError: the call cannot be carried out as asked; the command would end with exit code 2.
        KeyboardInterrupt: Ctrl-C stopped the call; the same call resumes.
    """
    given = {name: v for name, v in locals().items() if name not in ("trials", "objective", "seed", "quiet")}

    from cl_ner_bench.cli.tune import progress_of
    from cl_ner_bench.running.tuning import Tuning

    tuning = Tuning(given, trials, objective, seed)
    outcome = tuning.run(None if quiet else progress_of)
    if outcome.code >= 128:
        raise KeyboardInterrupt
    return tuning.folder.tuned_file


@_for_python
def extend(
    model: _Path,
    data: _Path,
    *,
    out: _Path,
    method: _Path | None = None,
    types: Sequence[str] | None = None,
    parts: Sequence[int] | None = None,
    step: int | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    head_lr: float | None = None,
    set: Mapping[str, Any] | Sequence[str] | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    threads: int | None = None,
) -> Model:
    """Learn one more step on top of a model, as `bench extend` does, and write the new model into ``out``.

    The logger ``cl_ner_bench`` warns of old types for which the new model agrees too little with the old one, on the
    sentences of ``data``. ``history[-1]`` of the returned model holds the whole comparison.

    Args:
        model: the folder of a run, of an exported model, or of a token classifier of transformers.
        data: a corpus folder or a file that labels the new types; dev and test may be missing.
        out: a new or empty folder for the new model.
        method: the method of the step (default: the model's own).
        types: the types of ``data`` to learn (default: all; the model must then know none of them).
        parts: divide files into train, dev and test by these percentages, or take missing parts from train.
        step: start from the model after this step of a run (default: the last step with a kept model).
        recipe: name of a recipe (default: the model's).
        epochs: epochs of the step.
        batch_size: sentences per batch.
        lr: learning rate of the encoder.
        head_lr: learning rate of the head.
        set: any other hyper-parameters, ``{"kd_weight": 2.0}``.
        seed: random seed (default: the model's).
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: number format of training (default: the model's).
        threads: CPU threads (default: the model's).

    Returns:
        The new model.

    Raises:
        UserError: the step cannot be learned as asked; the command would end with exit code 2.
    """
    from cl_ner_bench.deployment.extending import extend_model
    from cl_ner_bench.storage.model_folder import refuse_out

    refuse_out(Path(out))
    done = extend_model(
        fspath(model),
        fspath(data),
        method=None if method is None else fspath(method),
        types=types,
        parts=parts,
        step=step,
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        head_lr=head_lr,
        set=set,
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
    )
    done.model.export(out)
    for warning in done.warnings:
        log.warning(warning)
    return done.model


@_for_python
def load_model(path: _Path, step: int | None = None, *, method: _Path | None = None, device: str = "auto") -> Model:
    """Return a model that a run stored, or that ``bench export`` wrote.

    Args:
        path: the folder of the run, ``RESULTS_DIR/runs/RUN_ID``, or of the exported model.
        step: the step of a run after which the model was stored (default: the last step).
        method: the file of a user's method, ``FILE.py`` or ``FILE.py:NAME``, or a plug-in on a method,
            ``FILE.py+METHOD``. A folder cannot choose the file, because it runs as code.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UserError: there is no such run or model, the model is damaged, or its method or encoder has changed since it
            was learned.
    """
    from cl_ner_bench.deployment.model import open_model

    return open_model(path, step, method=method, device=device)


def as_arguments(message: str, known: Container[str]) -> str:
    """Return a message that names the ``known`` arguments, in backticks, instead of their flags.

    Commands, which stand in backticks, stay as they are, and so do other flags.
    """

    def argument(found: re.Match[str]) -> str:
        name = (found[1] or "").replace("-", "_")
        return f"`{name}`" if name in known else found[0]

    return _FLAG.sub(argument, message)
