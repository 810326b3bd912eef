"""Every built-in method of spans keeps the contract: each check of the conformance suite is a test of each method.

Those of tags stand in two files of their own, so that several processes share the work evenly.
"""

from __future__ import annotations

import pytest

from cl_ner_bench import registry
from cl_ner_bench.testing.tester import method_testers

pytestmark = pytest.mark.slow

SPAN = [name for name, card in registry.methods().items() if card.architecture == "span"]
PLUGGED = ["average+ewc+extendner", "freeze-bottom+spankl"]

globals().update(method_testers([*SPAN, *PLUGGED]))
