"""The recipe file of a search: the values of the best trials, the search, and all trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_ner_bench import __version__
from cl_ner_bench.analysis.data.trials import ScoredTrial, best_of
from cl_ner_bench.registry import resolve
from cl_ner_bench.running.planned_runs import file_word
from cl_ner_bench.running.recipe_file import RecipeFile, is_recipe_file, read_recipe_file


def tuned_recipe(trials: Sequence[ScoredTrial], recipe: str, search: Mapping[str, Any]) -> RecipeFile:
    """Return the recipe file of the best trial of each method.

    ``recipe`` is the recipe (name or file) from which the search started. ``search`` holds facts of the search that the
    trials' records lack. Leave out the files that a method reads, because the user of the recipe must name them.
    """
    start = read_recipe_file(Path(recipe)) if is_recipe_file(recipe) else None
    methods, spaces = {}, {}
    for label in dict.fromkeys(t.trial.method for t in trials):
        best = best_of(t for t in trials if t.trial.method == label)
        (variant,) = resolve([best.record.inputs["method"]])
        known = start.methods.get(label, start.methods.get(variant.card.name, {})) if start else {}
        values = {**known, **best.record.by_hand, **best.trial.values}
        unset = {*variant.card.files, *(key for key, value in values.items() if value is None)}
        methods[label] = {key: value for key, value in sorted(values.items()) if key not in unset}
        spaces[label] = best.trial.space
    one = trials[0].record
    limit = one.settings["max_sentences"]
    origin = {
        "written_by": f"bench tune, cl-ner-bench {__version__}",
        **{"dataset": one.dataset, "data": one.fingerprints["data"], "scenario": one.scenario, "encoder": one.encoder},
        **({"max_sentences": limit} if limit else {}),
        **{"order": one.order, "split_seed": one.settings["split_seed"], "start": one.settings["recipe"]},
        **search,
        "space": spaces,
    }
    names = (one.dataset, one.scenario, one.encoder)
    return RecipeFile(
        schema=1,
        name="-".join(["tuned", *map(file_word, names), trials[0].trial.study[:4]]),
        base=start.base if start else recipe,
        methods=methods,
        origin=origin,
        trials=tuple(map(_row, trials)),
    )


def _row(t: ScoredTrial) -> dict[str, Any]:
    score = {} if t.score is None else {"score": t.score}
    about = {"method": t.trial.method, "trial": t.trial.number, "run_id": t.record.run_id, "status": t.record.status}
    return {**about, **score, "values": t.trial.values}
