"""Recipe files: hyper-parameters by method. `bench tune` writes them, and ``--recipe FILE.toml`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import tomli_w
from msgspec import Struct, to_builtins

from cl_ner_bench.errors import UserError, did_you_mean
from cl_ner_bench.registry import Variant
from cl_ner_bench.untrusted import read_toml
from cl_ner_bench.validation import Text, convert


class RecipeFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The content of a recipe file.

    ``base`` is the recipe from which each method starts. ``methods`` holds each method's values that differ from the
    recipe or from the method's own defaults. ``origin`` and ``trials`` document the search and change nothing.
    """

    schema: Literal[1]
    name: Text
    base: Text
    methods: Mapping[str, Mapping[str, Any]]
    origin: Mapping[str, Any] = {}
    trials: tuple[Mapping[str, Any], ...] = ()

    def of(self, variant: Variant, where: str) -> Mapping[str, Any]:
        """Return the values of a method by its label, else by its name. Raise UserError if the file has neither."""
        for name in (variant.label, variant.card.name):
            if name in self.methods:
                return self.methods[name]
        raise UserError(
            f"{where}: it holds no values for {variant.label}.{did_you_mean(variant.label, [*self.methods])} "
            f"Its methods are {', '.join(self.methods)}. Tune this one, too "
            f"(`bench tune --methods {variant.spec}`), or give it "
            f'those of the recipe {self.base} by an empty table [methods."{variant.label}"]'
        )

    def to_toml(self) -> bytes:
        return tomli_w.dumps(to_builtins(self)).encode()


def is_recipe_file(recipe: str) -> bool:
    """Return True if ``--recipe`` names a file, not a recipe of a card."""
    return recipe.endswith(".toml")


def read_recipe_file(file: Path) -> RecipeFile:
    """Return the content of a recipe file. Raise UserError, which names the wrong key, if the content does not fit."""
    try:
        stamp = file.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"--recipe {file}: cannot be read ({error.strerror})") from None
    return _read(file, stamp)


@lru_cache(maxsize=8)
def _read(file: Path, stamp: int) -> RecipeFile:
    found = convert(read_toml(file, f"--recipe {file}: the recipe"), RecipeFile, f"--recipe {file}")
    if is_recipe_file(found.base):
        raise UserError(f"--recipe {file}: key 'base': expected the name of a recipe, found a file")
    return found
