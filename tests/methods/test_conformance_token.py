"""Every built-in method of tags alone keeps the contract, as in ``test_conformance``."""

from __future__ import annotations

import pytest

from cl_ner_bench import registry
from cl_ner_bench.testing.tester import method_testers

pytestmark = pytest.mark.slow

TOKEN = [name for name, card in registry.methods().items() if card.architecture == "token"]

globals().update(method_testers(name for name in TOKEN if not name.endswith("-token")))
