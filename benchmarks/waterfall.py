"""What each technique adds, from the plain path to the full engine: python -m benchmarks.waterfall --data PATH

Each stage keeps what the stages before it have. All take their turn on the same random batches of 32 of Few-NERD, from
the same weights, with one thread; what is done once in a task (tokens, the teacher's outputs where they are kept) is
not counted. Writes docs/performance.csv and .png, and prints the table; `--draw` draws from the CSV that is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.measure import as_a_worker, per_round, spread
from benchmarks.steps import (
    ENCODER,
    EXACT,
    FOLDER,
    LIMITED,
    Compared,
    Timed,
    Update,
    coarse_steps,
    few_nerd,
    paper_recipe,
    plain_updates,
    updates,
)
from cl_ner_bench.analysis.figures.style import BLUE, COLUMN, RC, RED
from cl_ner_bench.learning.learner import Learner, StepData
from cl_ner_bench.models.encoders.dropout import Dropout
from cl_ner_bench.models.encoders.encoder import Encoder
from cl_ner_bench.models.encoders.info import encoder_info
from cl_ner_bench.testing.plain import Plain, Row, Training, read

ROOT = Path(__file__).resolve().parents[1]
PLAIN = "plain"
TEACHER, UNPADDED, FUSED, MASKS, NARROW = (
    "teacher kept",
    "no padding",
    "fused AdamW",
    "cheap dropout",
    "words in use only",
)
HEAD, BAND, HALF = "span head and losses", "width 12", "bf16"
OURS = (TEACHER, UNPADDED, FUSED, MASKS, NARROW)  # the plain path with parts of the engine
STAGES = (PLAIN, *OURS, HEAD, BAND, HALF)


class Kept:
    """A teacher whose outputs are made once; the plain path asks it as it asks a model."""

    def __init__(self, teacher: Plain, rows: Sequence[Row]) -> None:
        teacher.eval()
        with torch.no_grad():
            self.outputs = {row.sentence.id: teacher.logits([row]) for row in rows}

    def eval(self) -> None:
        pass

    def logits(self, rows: Sequence[Row], width: int) -> Tensor:
        return torch.cat([self.outputs[row.sentence.id] for row in rows])


class TorchDropout(Dropout):
    """Torch's own masks."""

    def __call__(self, values: Tensor, p: float) -> Tensor:
        return F.dropout(values, p)


class Unpadded(Plain):
    """The plain path behind the engine's encoder."""

    def __init__(self, learner: Learner, sentences: Sequence[Any], dropout: float, have: Sequence[str]) -> None:
        super().__init__(learner, FOLDER, dropout)
        encoder = Encoder(encoder_info(ENCODER))
        encoder.load_state_dict(learner.encoder.state_dict())
        tokens = encoder.tokeniser.tokenise([s.words for s in sentences])
        self.tokens = dict(zip([s.id for s in sentences], tokens, strict=True))
        encoder.dropout = Dropout() if MASKS in have else TorchDropout()
        if NARROW in have:
            encoder.restrict_embeddings(tokens)
        self.backbone, self.encoder, self.rate = encoder.backbone, encoder, dropout

    def words(self, rows: Sequence[Row]) -> Tensor:
        vectors = self.encoder([self.tokens[row.sentence.id] for row in rows])
        return pad_sequence(self.encoder.dropout(vectors, self.rate).split([len(row.first) for row in rows]), True)


def with_parts(settings: Mapping[str, Any], data: StepData, have: Sequence[str]) -> Compared:
    """The plain path with the parts of the engine that ``have`` names."""

    def compared(learner: Learner, teacher: Plain | None, n_updates: int) -> Update:
        assert teacher is not None
        dropout = settings["dropout"]
        rows = {row.sentence.id: row for row in read(data.train, FOLDER)}
        kept: Any = Kept(teacher, list(rows.values()))
        unpadded = UNPADDED in have
        model = Unpadded(learner, data.train, dropout, have) if unpadded else Plain(learner, FOLDER, dropout)
        training = Training(model, settings, n_updates, **({"fused": True} if FUSED in have else {}))
        return lambda batch: training.update([rows[s.id] for s in batch], data.labelled, kept)

    return compared


def measure(data: Path, rounds: int, n: int) -> pd.DataFrame:
    """Speed over the plain path, a row per stage: smallest, median and largest of the rounds of ``n`` updates each."""
    corpus = few_nerd(data)
    exact, limited = (paper_recipe(corpus, "span", **mode) for mode in (EXACT, LIMITED))
    steps = coarse_steps(corpus, 32 * (rounds * n + 1), 3)
    plain = {PLAIN: plain_updates(exact, steps[-1])}
    parts = {stage: with_parts(exact, steps[-1], OURS[: k + 1]) for k, stage in enumerate(OURS)}
    runs: Sequence[tuple[str, Callable[[], Timed]]] = (
        (HEAD, lambda: updates("spankl", steps, exact, "fp32", {**plain, **parts})),
        (BAND, lambda: updates("spankl", steps, limited, "fp32", plain)),
        (HALF, lambda: updates("spankl", steps, limited, "bf16", plain)),
    )
    found = {PLAIN: [1.0] * rounds}
    for stage, run in runs:
        timed = run()
        found |= {name: per_round(timed.others[PLAIN], timed.others[name], rounds) for name in timed.others}
        found[stage] = per_round(timed.others[PLAIN], timed.suite, rounds)
    rows = [(stage, *spread(found[stage])) for stage in STAGES]
    return pd.DataFrame(rows, columns=["stage", "min", "median", "max"])


def draw(frame: pd.DataFrame) -> Figure:
    """A bar a stage, from the median of the stage before to its own, red where it is slower; whiskers: all rounds."""
    figure = Figure(figsize=(COLUMN, 2.4), layout="constrained")
    ax = figure.subplots()
    before = [0.0, *frame["median"][:-1]]
    places = range(len(frame))
    gain = frame["median"] - before
    ax.barh(places, gain, left=before, color=[BLUE if more >= 0 else RED for more in gain], height=0.6)
    ax.errorbar(
        frame["median"],
        places,
        xerr=[frame["median"] - frame["min"], frame["max"] - frame["median"]],
        fmt="none",
        ecolor="black",
        elinewidth=0.6,
        capsize=2,
    )
    for place, (median, most) in enumerate(zip(frame["median"], frame["max"], strict=True)):
        ax.annotate(f"{median:.1f}x", (most, place), (3, 0), textcoords="offset points", va="center", fontsize=6)
    ax.set_yticks(places, [stage if n == 0 else f"+ {stage}" for n, stage in enumerate(frame["stage"])])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * frame["max"].max())
    ax.set_xlabel("speed of a training step over the plain path")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Few-NERD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=4, help="training steps a round")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "performance", help="of .csv and .png")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    table = arguments.out.with_suffix(".csv")
    if not arguments.draw:
        if arguments.data is None:
            parser.error("--data: say where Few-NERD lies, or --draw")
        torch.set_num_threads(1)
        measure(arguments.data, arguments.rounds, arguments.updates).to_csv(table, index=False, float_format="%.3f")
    frame = pd.read_csv(table)
    with mpl.rc_context(RC):
        draw(frame).savefig(arguments.out.with_suffix(".png"))
    print("| stage | min / median / max |\n|---|---:|")
    for stage, *values in frame.itertuples(index=False):
        print(f"| {stage} | {' / '.join(f'{value:.2f}' for value in values)} |")


if __name__ == "__main__":
    as_a_worker()
    main()
