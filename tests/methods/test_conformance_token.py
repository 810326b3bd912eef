"""Every built-in method of tags keeps the contract, as in ``test_conformance``."""

from __future__ import annotations

import pytest

from cl_ner_bench import registry
from cl_ner_bench.testing.tester import method_testers

pytestmark = pytest.mark.slow

globals().update(method_testers(name for name, card in registry.methods().items() if card.architecture == "token"))
