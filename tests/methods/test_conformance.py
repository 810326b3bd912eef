"""Every built-in method keeps the contract: each check of the conformance suite is a test of each method."""

from __future__ import annotations

import pytest

from cl_ner_bench import registry
from cl_ner_bench.testing.tester import MethodTester

for name in registry.methods():
    tester = type(f"Test_{name}", (MethodTester,), {"method": name, "__module__": __name__})
    globals()[tester.__name__] = pytest.mark.slow(tester)


PLUGGED = [f"{card.plug_in}+extendner" for card in registry.methods().values() if card.plug_in and "token" in card.name]
"""Each plug-in on a method with a teacher."""

for name in PLUGGED:
    tester = type(f"Test_{name}", (MethodTester,), {"method": name, "__module__": __name__})
    globals()[tester.__name__] = pytest.mark.slow(tester)
