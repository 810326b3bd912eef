"""A base class of pytest tests. A subclass names a method, and has one test for each conformance check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from cl_ner_bench import registry
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Learner, Output
from cl_ner_bench.testing.conformance.faults import Check
from cl_ner_bench.testing.conformance.inputs import TWO
from cl_ner_bench.testing.conformance.lab import Lab
from cl_ner_bench.testing.conformance.suite import checks, run_check

Reference = Callable[[Learner, Batch, Output, Output | None], Mapping[str, Tensor]]


class MethodTester:
    """Tests that a method keeps the contract::

        class TestMine(MethodTester):
            method = "mine.py"

    Attributes:
        method: a name of `bench list methods`, ``FILE.py`` or ``FILE.py:NAME``.
        full: run the longer checks, too.
        reference: a static method that computes the losses in another way. Each update of two steps compares them.
    """

    method: ClassVar[str]
    full: ClassVar[bool] = False
    reference: ClassVar[Reference | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "method" not in vars(cls):
            return
        (variant,) = registry.resolve([cls.method])
        lab = cache(lambda: Lab(variant.card))
        wanted = checks(variant.card, cls.full) + ([_same_losses(cls.reference)] if cls.reference else [])
        for check in wanted:
            setattr(cls, f"test_{check.__name__}", _test(check, lab))


def method_testers(methods: Iterable[str]) -> dict[str, type[MethodTester]]:
    """Return a class of tests for each method, by the name of the class."""
    return {f"Test_{method}": type(f"Test_{method}", (MethodTester,), {"method": method}) for method in methods}


def _test(check: Check, lab: Callable[[], Lab]) -> Callable[[MethodTester], None]:
    def test(self: MethodTester) -> None:
        result = run_check(check, lab())
        assert not result.fault, f"{lab().card.name}: {result.fault}"

    test.__doc__ = check.__doc__
    return test


def _same_losses(reference: Reference) -> Check:
    """Return the check that a method's losses equal those of ``reference``."""

    def losses(lab: Lab) -> str:
        """Losses are those of the reference."""
        base: Any = lab.learner

        class Compared(base):
            def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
                found: dict[str, Tensor] = super().losses(batch, output, teacher)
                expected = reference(self, batch, output, teacher)
                assert found.keys() == expected.keys(), f"losses {[*found]}, the reference has {[*expected]}"
                for name, value in found.items():
                    try:
                        torch.testing.assert_close(value, expected[name])
                    except AssertionError as error:
                        raise AssertionError(f"{name}: {error}") from None
                return found

        for _ in lab.chain(TWO, learner=Compared):
            pass
        return ""

    return losses
