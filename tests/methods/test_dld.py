"""DLD's losses by the parts of DKD (cvlab-yonsei/DKD@fb4693f), and by the code base of arXiv 2312.07887."""

from __future__ import annotations

import pytest

from cl_ner_bench.testing.toy import learner, losses

pytestmark = pytest.mark.usefixtures("double")

CE, KL = 1.015168398, 0.382617611


def test_parts_by_the_sign_of_the_weight() -> None:
    expected = {"ce": CE, "kd": 2 * KL, "positive": 2 * 0.046000862, "negative": 2 * 0.080448044}
    assert losses(learner("dld")) == pytest.approx(expected, abs=1e-6)


def test_codebase_over_words() -> None:
    expected = {"ce": CE, "kd": 2 * KL, "positive": 2 * 0.004439804, "negative": 2 * 0.010164566}
    assert losses(learner("dld-codebase")) == pytest.approx(expected, abs=1e-6)
