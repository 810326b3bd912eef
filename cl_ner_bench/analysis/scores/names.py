"""The printed names of measures in tables, figures, the page and the terminal. ``measures`` defines the measures."""

from __future__ import annotations

from dataclasses import dataclass

from cl_ner_bench.analysis.scores.measures import DIFFERENCES
from cl_ner_bench.errors import UserError, did_you_mean

HEADLINE = "task_macro_f1"
MAIN = ("micro_f1", HEADLINE, "forgetting", "learning", "gap")
"""The columns of the main tables, unless the user names others."""


@dataclass(frozen=True)
class Measure:
    """A measure. ``key``: its column in scores.csv or summary.csv; ``name``: its name within a sentence."""

    key: str
    name: str

    @property
    def title(self) -> str:
        """Return the name at the head of a column or along an axis."""
        return self.name[0].upper() + self.name[1:]

    @property
    def ranks(self) -> bool:
        """Return True if the best value may be marked. False for changes and differences: a method that learns nothing
        would win."""
        return self.key not in DIFFERENCES


_NAMES = {
    "micro_f1": "micro-F1",
    "macro_f1": "mean type F1",
    "task_macro_f1": "mean task F1",
    "macro_f1_zero": "mean type F1, undefined as 0",
    "avg_micro_f1": "micro-F1 over steps",
    "avg_macro_f1": "mean type F1 over steps",
    "avg_task_macro_f1": "mean task F1 over steps",
    "avg_micro_f1_after_first": "micro-F1 over steps 2 to T",
    "avg_macro_f1_after_first": "mean type F1 over steps 2 to T",
    "auc_micro_f1": "area under micro-F1",
    "auc_task_macro_f1": "area under mean task F1",
    "forgetting": "forgetting",
    "forgetting_types": "forgetting of types",
    "first_minus_last": "first minus last",
    "first_minus_last_types": "first minus last of types",
    "bi": "BI",
    "bi_types": "BI of types",
    "bwt": "BWT",
    "bwt_types": "BWT of types",
    "learning": "learning",
    "learning_types": "learning of types",
    "intransigence": "intransigence",
    "intransigence_types": "intransigence of types",
    "gap": "gap",
    "gap_task_macro": "gap",  # after each step, in scores.csv
    "gap_micro": "gap in micro-F1",
    "gap_macro": "gap in mean type F1",
    "gap_best": "gap to the better joint training",
}
NAMES = {key: Measure(key, name) for key, name in _NAMES.items()}
_SHORT = {"micro": "micro_f1", "type": "macro_f1", "task": "task_macro_f1"}


def measure_key(word: str) -> str:
    """Return the key of a measure that a user named: the key itself, or ``micro``, ``type`` or ``task``."""
    key = _SHORT.get(word, word)
    if key not in NAMES:
        known = {**{name: name for name in (*_SHORT, *NAMES)}, "macro": "type", "macro-f1": "type"}
        columns = ", ".join([*_SHORT, "forgetting", "bwt", "learning", "gap"])
        raise UserError(
            f"--measures: unknown measure {word!r}.{did_you_mean(word, known)} There are {columns}, and the columns of "
            "summary.csv"
        )
    return key
