"""The options of `bench run`: one table for the command line, config files and Python."""
# ruff: noqa: RUF009  `option` is `dataclasses.field`

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from cl_ner_bench.running.option_values import (
    Settings,
    encoder_name,
    flag,
    names,
    number,
    numbers,
    one_of,
    orders,
    pairs,
    path,
    settings,
    share,
    shares,
    tasks,
    text,
)

TRACKERS = ("mlflow", "wandb", "tensorboard", "trackio")
METHODS, DATA, TRAINING, MACHINE, FILES = "methods", "data and tasks", "training", "machine", "files"


def option(default: Any, parse: Callable[[Any], Any], group: str, help: str, metavar: str = "") -> Any:
    """Declare an option. ``parse`` converts an input to the value of the option, or raises ValueError."""
    about = {"parse": parse, "group": group, "help": help, "metavar": metavar}
    return field(default_factory=dict, metadata=about) if default == {} else field(default=default, metadata=about)


@dataclass(frozen=True)
class Options:
    """All options of `bench run`. None means the default that the help names, or no value."""

    methods: tuple[str, ...] = option(
        ("spankl", "extendner", "finetune", "joint"),
        names,
        METHODS,
        "names of `bench list methods`, patterns like '*-token', FILE.py, FILE.py:NAME or PLUG+METHOD; LABEL=METHOD "
        "names a variant",
        "a,b",
    )
    bounds: str = option(
        "auto",
        one_of("auto", "none"),
        METHODS,
        "auto: add the joint bound of each architecture in use",
        "auto|none",
    )
    set: Settings = option(
        {}, settings, METHODS, "set a hyper-parameter of one method; may be repeated", "METHOD.KEY=VALUE"
    )
    dataset: str = option(
        "synthetic",
        text,
        DATA,
        "a name of `bench list datasets`, a card, a folder with train, dev and test files, or other files with --parts",
        "NAME|PATH",
    )
    data: str | None = option(
        None,
        path,
        DATA,
        "your own copy of the corpus (default: the copy on the Hugging Face hub, if the card names one)",
        "PATH",
    )
    parts: tuple[int, ...] | None = option(
        None,
        shares,
        DATA,
        "divide files into train, dev and test by these percentages, or take missing parts from train; documents "
        "stay whole (default: off)",
        "80,10,10",
    )
    tasks: str | None = option(
        None, tasks, DATA, 'the tasks in their order, for example "ORG;PERSON;GPE,DATE" (default: the card\'s)', "TASKS"
    )
    scenario: str = option(
        "split",
        text,
        DATA,
        "split, filter, fgA-pgB, add-one, domains or another name of `bench list scenarios`, or a .toml file",
        "NAME",
    )
    orders: Any = option((0,), orders, DATA, "numbers of the task orders; all: every order of the card", "0,1|all")
    split_seed: int = option(
        1, number(int, 0), DATA, "random seed of the task split, of --parts and of --max-sentences", "N"
    )
    split: str | None = option(
        None, path, DATA, "use the task split in a file that `bench data split` wrote (default: make one)", "FILE.json"
    )
    max_sentences: int | None = option(
        None,
        number(int, 1),
        DATA,
        "use a random sample: N train sentences, dev and test in proportion; every output says so (default: all)",
        "N",
    )
    seeds: tuple[int, ...] = option(
        (0,), numbers, TRAINING, "random seeds of weights, dropout and shuffling; each seed gives a run", "0,1,2"
    )
    encoder: str = option(
        "minilm",
        encoder_name,
        TRAINING,
        "minilm (offline), a Hugging Face encoder (NAME or NAME@REVISION), or a folder (./PATH or /PATH)",
        "NAME|PATH",
    )
    recipe: str | None = option(
        None,
        text,
        TRAINING,
        "a recipe of the dataset's card, or a file that `bench tune` wrote (default: the encoder's, else paper)",
        "NAME|FILE.toml",
    )
    epochs: int | None = option(None, number(int, 1), TRAINING, "epochs per step (default: the recipe's)", "N")
    batch_size: int | None = option(None, number(int, 1), TRAINING, "sentences per batch (default: the recipe's)", "N")
    lr: float | None = option(
        None, number(float, 0), TRAINING, "learning rate of the encoder (default: the recipe's)", "X"
    )
    head_lr: float | None = option(
        None, number(float, 0), TRAINING, "learning rate of the head (default: the recipe's)", "X"
    )
    warmup_share: float | None = option(
        None,
        number(float, 0, 1),
        TRAINING,
        "share of a step's updates in which the learning rates rise to their full values (default: the recipe's)",
        "X",
    )
    warmup_updates: int | None = option(
        None, number(int, 0), TRAINING, "longest warm-up, in updates (default: the recipe's)", "N"
    )
    clip: float | None = option(
        None,
        number(float, 0),
        TRAINING,
        "clip the norm of the gradient to this; 0: no clipping (default: the recipe's)",
        "X",
    )
    max_length: int | None = option(
        None,
        number(int, 8),
        TRAINING,
        "longest window, in sub-tokens; a longer sentence is read in several windows (default: the recipe's)",
        "N",
    )
    max_span_width: int | None = option(
        None,
        number(int, 0),
        TRAINING,
        "longest span that span methods score, in words; 0: no limit; changes training (default: the recipe's)",
        "N",
    )
    pool: int | None = option(
        None,
        number(int, 1),
        TRAINING,
        "sort the sentences of N batches by length, then batch them; faster, but changes training (default: 1, off)",
        "N",
    )
    joint_steps: str | None = option(
        None,
        one_of("all", "last"),
        TRAINING,
        "train joint models at every step, or only at the last (default: the card's, else all)",
        "all|last",
    )
    training_check: bool = option(
        False,
        flag,
        TRAINING,
        "also train step 1 for twice the epochs, once per architecture; a run below 90 % of that score is undertrained",
    )
    nested: bool = option(False, flag, TRAINING, "keep nested predictions of span methods")
    device: str = option(
        "auto",
        one_of("auto", "cpu", "cuda", pattern=r"cuda:\d+", meant={"gpu": "cuda"}),
        MACHINE,
        "device to train on; auto: CUDA if there is a GPU, else the CPU",
        "auto|cpu|cuda|cuda:1",
    )
    precision: str = option(
        "auto",
        one_of("auto", "fp32", "bf16"),
        MACHINE,
        "number format of training; auto: fp32 on the CPU, bf16 on CUDA",
        "auto|fp32|bf16",
    )
    exact: bool = option(
        False,
        flag,
        MACHINE,
        "disable all approximations (fp16 teacher logits, span-width limit, length pooling)",
    )
    threads: int = option(
        1,
        number(int, 1),
        MACHINE,
        "CPU threads per run; another number changes the last bits of results, so they store it",
        "N",
    )
    jobs: int | None = option(
        None,
        number(int, 1),
        MACHINE,
        "runs at a time (default: as many as the cores or GPUs and the memory allow)",
        "N",
    )
    gpus_per_run: float = option(1.0, share, MACHINE, "share of a GPU per run; 0.5: two runs on each GPU", "X")
    backend: str = option(
        "loky",
        text,
        MACHINE,
        "where the runs are trained: on this machine (loky), or on a cluster (dask, ray, slurm)",
        "loky|dask|ray|slurm",
    )
    scheduler: str | None = option(
        None, text, MACHINE, "address of a running dask or ray cluster (default: start one here)", "ADDRESS"
    )
    slurm: dict[str, Any] = option(
        {},
        pairs,
        MACHINE,
        "a parameter of sbatch, for example partition=gpu or time=1440 (minutes); may be repeated",
        "KEY=VALUE",
    )
    timeout: float | None = option(
        None,
        number(float, 1),
        MACHINE,
        "time limit of a step; a run that exceeds it fails (default: none)",
        "SECONDS",
    )
    out: str | None = option(
        None,
        path,
        FILES,
        "results folder; further commands add runs to it (default: results/DATASET-SCENARIO)",
        "DIR",
    )
    replace: tuple[str, ...] = option(
        (),
        names,
        FILES,
        "learn these methods again if their runs in DIR have other settings or code; the old runs move to DIR/replaced",
        "a,b",
    )
    store: str | None = option(
        None,
        text,
        FILES,
        "object store (s3://...) through which machines without a common file system share results (default: none)",
        "URL",
    )
    checkpoint_seconds: float = option(
        60.0,
        number(float, 0),
        FILES,
        "shortest time between two checkpoints, written at ends of epochs; a stopped step resumes from the last one",
        "SECONDS",
    )
    keep_models: str = option(
        "last",
        one_of("last", "all", "none"),
        FILES,
        "keep the model of each run's last step, the models of all steps, or none",
        "last|all|none",
    )
    no_report: bool = option(
        False,
        flag,
        FILES,
        "write no CSV files, tables, figures or report.html; `bench report` writes them later",
    )
    tracker: str | None = option(
        None,
        one_of(*TRACKERS),
        FILES,
        "also send the scores of every finished step to an experiment tracker (default: none)",
        "|".join(TRACKERS),
    )

    @property
    def elsewhere(self) -> bool:
        """True if other machines learn the runs. Their number and devices are unknown here."""
        return self.scheduler is None if self.backend == "slurm" else self.scheduler is not None


OPTIONS = {f.name: f for f in fields(Options)}
NOT_OF_THE_GRID = (
    *("out", "replace", "store", "jobs", "gpus_per_run", "backend", "scheduler", "slurm"),
    *("timeout", "checkpoint_seconds", "keep_models", "no_report", "tracker"),
)
"""Options that experiment.toml leaves out, because they change no result or belong to the folder."""
