"""OCILNER's contrasts, distillation, relabelling and class means against the authors' release, words only.

Values of rtmaww/O_CILNER@02b8074 (util/, model/, cil_ner_train/) without its special tokens and padding, which are a
class of their own there, and of the code base of arXiv 2312.07887 (@cc2bf9d).
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from cl_ner_bench.methods.ocilner import typed_bce
from torch import Tensor

from cl_ner_bench.corpora.sentence import Sentence
from cl_ner_bench.learning.batches import Example
from cl_ner_bench.learning.contrast import (
    class_means,
    least_similarity,
    median_similarity,
    open_contrast,
    type_contrast,
)
from cl_ner_bench.learning.learner import Learner, Output, Step
from cl_ner_bench.models.heads.type import with_begins
from cl_ner_bench.testing.toy import EXAMPLES, NO_TOKENS, TOY, batch, learner, student

pytestmark = pytest.mark.usefixtures("double")

INF = math.inf
LABELS = [0, 3, 0, 3, 0, 1, 0]  # of the data: O, A, B old, C new; A is of a remembered sentence
RELABELLED = [0, 3, 1, 3, 0, 1, 1]
PROJECTED = [
    [1.136, 0.11, -0.553, -0.785],
    [0.749, 1.635, 0.273, -1.233],
    [0.713, 0.98, -0.139, -0.42],
    [-0.084, -1.163, -0.629, -0.488],
    [0.41, 0.83, -1.643, -0.257],
    [0.706, 0.448, -0.587, 0.106],
    [0.989, 0.409, -0.514, -0.019],
]
STUDENT = [
    [-1.102, 0.033, 0.044, -1.988],
    [-0.233, -0.256, 0.962, -1.181],
    [0.738, -1.099, -0.331, -0.84],
    [1.449, 0.568, 2.432, 0.642],
    [1.35, -0.397, 0.189, -0.021],
    [0.609, -0.365, -0.152, 0.242],
    [0.103, -0.865, 0.896, -1.298],
]
TEACHER = [
    [-1.055, -1.272, 0.614],
    [-1.197, -0.322, -0.007],
    [-0.445, -0.054, 1.339],
    [-0.517, -1.259, -1.837],
    [-0.464, -0.479, -0.721],
    [-0.52, 0.16, -0.38],
    [0.1, 1.901, 0.479],
]
SUPPORT = [
    [-0.129, -0.683, 0.306, -0.215],
    [-0.022, -1.348, 0.317, 0.374],
    [0.086, -0.853, 0.957, -0.425],
    [1.09, 0.393, -0.571, -0.259],
    [0.995, 0.652, -0.386, 0.119],
    [1.253, 0.604, 0.104, 0.261],
    [-0.329, 1.439, 1.218, 0.245],
    [-0.252, 0.478, 0.882, 0.478],
    [0.221, 0.642, -0.996, 0.688],
    [0.681, 0.483, -1.371, 1.682],
    [0.011, -0.535, -1.147, 1.022],
    [-0.443, -0.677, -0.389, -1.097],
    [-1.133, -0.72, -0.223, -0.623],
]
SUPPORT_LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4]
QUERIES = [
    [1.125, 0.315, -0.43, 0.124],
    [-0.641, 0.674, 0.664, 0.59],
    [0.283, -1.095, 0.382, 0.368],
    [-1.478, -0.51, -0.378, -0.87],
    [0.576, 0.554, 0.388, 0.571],
    [-0.568, 0.895, -1.185, 1.539],
]
MEANS = [
    [-0.0413064588, -0.8730170341, 0.4716990846, -0.116769038],
    [0.8707448469, 0.432501777, -0.2322291575, 0.0285524583],
    [-0.2013234235, 0.5989840849, 0.7223481945, 0.2808914932],
    [0.1644199731, 0.1223332365, -0.7210249459, 0.6619091169],
    [-0.5591558052, -0.5011927611, -0.2213658143, -0.6222120041],
]


def unit() -> Tensor:
    return F.normalize(torch.tensor(PROJECTED))


@pytest.mark.parametrize(("labels", "expected"), [(LABELS, 15.5459398827), (RELABELLED, 7.6254132534)])
def test_contrast_of_types(labels: list[int], expected: float) -> None:
    assert type_contrast(unit(), torch.tensor(labels)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("threshold", "o", "expected"),
    [
        (0.5, LABELS, 6.4559039726),  # as released: by the labels of the data
        (0.5, RELABELLED, 6.608128365),
        (0.9, LABELS, 7.6254132534),
        (0.9, RELABELLED, 7.6254132534),
    ],
)
def test_contrast_with_o(threshold: float, o: list[int], expected: float) -> None:
    found = open_contrast(unit(), torch.tensor(RELABELLED), torch.tensor(o) == 0, threshold)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_contrast_without_a_pair_is_zero() -> None:
    assert type_contrast(unit(), torch.tensor([0, 1, 2, 3, 0, 0, 0])).item() == 0


def with_memory(made: Learner, monkeypatch: pytest.MonkeyPatch) -> Learner:
    """Return a learner that meets the words above: the last two are a remembered sentence's."""
    first, second = slice(0, 5), slice(5, 7)
    monkeypatch.setattr(made, "targets", lambda of, _: torch.tensor(LABELS[first if of is FRESH else second]))
    monkeypatch.setattr(made.memory, "draw", lambda _: REMEMBERED)
    monkeypatch.setattr(made, "forward", lambda _: words(STUDENT, second))
    monkeypatch.setattr(made, "projected", F.normalize)
    monkeypatch.setattr(made, "relabelled", lambda *_: torch.tensor(RELABELLED))
    made.previous = lambda _: words(TEACHER, second)
    return made


FRESH, REMEMBERED = batch(0), batch(1)


def words(logits: list[list[float]], rows: slice) -> Output:
    return Output(torch.tensor(logits)[rows], torch.tensor(PROJECTED)[rows])


def test_first_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_memory(learner("ocilner"), monkeypatch)
    found = made.losses(FRESH, words(STUDENT, slice(0, 5)), words(TEACHER, slice(0, 5)))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"contrast": 7.6254132534, "ce": 2.5006424576, "kd": 0.1305231908}, abs=1e-6
    )


@pytest.mark.parametrize(("compat", "contrast"), [(False, 6.608128365), (True, 6.4559039726)])
def test_second_phase(compat: bool, contrast: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_memory(learner("ocilner", compat=compat), monkeypatch)
    made.threshold = 0.5
    found = made.losses(FRESH, words(STUDENT, slice(0, 5)), words(TEACHER, slice(0, 5)))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"contrast": contrast, "bce": 0.8144279115}, abs=1e-6
    )


def test_bce_of_the_first_task() -> None:
    labels = torch.tensor(RELABELLED)
    assert typed_bce(torch.tensor(STUDENT), labels, labels > 0, None).item() == pytest.approx(0.8629884324, abs=1e-6)


def support() -> list[tuple[Tensor, Tensor]]:
    """Return remembered words in two parts."""
    vectors, labels = torch.tensor(SUPPORT), torch.tensor(SUPPORT_LABELS)
    return [(vectors[:7], labels[:7]), (vectors[7:], labels[7:])]


def four_tasks() -> Learner:
    """Return a learner of the last of four tasks of one type, with the class means of the support."""
    made = learner("ocilner")
    made.grown = [("A",), ("B",), ("C",), ("D",)]
    made.means = class_means(support(), 5, 4)
    return made


def test_class_means() -> None:
    assert torch.allclose(four_tasks().means, torch.tensor(MEANS), atol=1e-6)


def test_relabelling() -> None:
    made = four_tasks()
    least = least_similarity(support(), made.means)[:4]
    assert least.tolist() == pytest.approx([0.8947660768, 0.9411614306, 0.9727534542, 0.8850859007], abs=1e-6)
    made.thresholds = made.relabel_thresholds(least)
    expected = [0.8947660768, 0.7811639874, 0.8560230397, 0.8231298877]
    assert made.thresholds.tolist() == pytest.approx(expected, abs=1e-6)
    made.means = made.means[:4]
    before = torch.tensor([0, 0, 0, 4, 0, -100])
    assert made.relabelled(torch.tensor(QUERIES), before, before == 0).tolist() == [1, 2, 0, 4, 0, -100]
    # As released, rows without a word and replayed old mentions may be relabelled, too.
    assert made.relabelled(torch.tensor(QUERIES), before, before < 4).tolist() == [1, 2, 0, 4, 0, 3]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0.8326897025, 0.540058235),
        (0.7424058914, 0.3267497126),
        (0.9171495438, 0.76174507),
        (0.8255871535, 0.5223911613),
    ],
)
def test_similarity_within_a_class_by_the_length_of_its_mean(length: float, expected: float) -> None:
    """The code base's thresholds of O for each tag, of three remembered words whose unit vectors have such a mean."""
    angles = torch.tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3])
    across = math.sqrt(1 - length**2) * torch.stack([angles.cos(), angles.sin()], dim=1)
    unit = torch.cat([torch.full((3, 1), length), across], dim=1)
    assert median_similarity(unit, torch.ones(3, dtype=torch.long)) == pytest.approx(expected, abs=1e-6)


def test_threshold_of_o() -> None:
    labels = torch.tensor(SUPPORT_LABELS)
    vectors = F.normalize(torch.tensor(SUPPORT))
    assert median_similarity(vectors, labels) == pytest.approx(0.8293851895, abs=1e-6)
    assert median_similarity(vectors[:4], labels[:4]) == INF  # no type with two words


def test_phases_are_shares_of_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = learner("ocilner")
    train = tuple(e.sentence for e in EXAMPLES)
    made.begin_step(Step(1, ("Z",), ("Z",), train, (), ("Z",), examples=EXAMPLES, epochs=16))
    monkeypatch.setattr(made, "outputs", lambda batches: [(of, student(of)) for of in batches])
    monkeypatch.setattr(made, "examples", batch(0, 1))
    monkeypatch.setattr(made, "projected", F.normalize)
    made.begin_epoch(10)
    assert made.threshold is None
    made.begin_epoch(11)
    vectors = F.normalize(student(batch(0, 1)).words)[[1, 2, 7]]
    cosines = [(vectors[i] @ vectors[j]).item() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert made.threshold == pytest.approx(sum(c for c in cosines if c > 0) / sum(c > 0 for c in cosines))


def test_remembers_sentences_of_each_type_and_others() -> None:
    made = learner("ocilner", per_type=2, without_mentions=1)
    plain = [Sentence(10 + i, ("w",)) for i in range(3)]
    train = (*(e.sentence for e in EXAMPLES), *plain)
    examples = [*EXAMPLES, *(Example(4 + i, s, NO_TOKENS) for i, s in enumerate(plain))]
    step = Step(1, ("Z",), ("Z",), train, (), ("Z",), examples=examples, epochs=16)
    made.begin_step(step)
    kept = set(made.keep(step))
    assert len(kept & {0, 1, 2, 3}) == 2
    assert len(kept & {10, 11, 12}) == 1
    assert {e.sentence.id for e in made.examples.examples} == kept


def test_decoding_is_the_nearest_class_mean() -> None:
    made = learner("ocilner")
    made.carried["means"] = torch.tensor(MEANS)[:4]
    queries = torch.tensor(QUERIES)[[0, 1, 2, 4, 5]]
    (found,) = made.decode(Output(torch.zeros(5, 4), queries), [5], ("X", "Y", "Z"), False)
    assert [(p.start, p.end, p.type) for p in found] == [(0, 1, "X"), (1, 2, "Y"), (3, 4, "X"), (4, 5, "Z")]
    assert all(0 < p.score <= 1 for p in found)


def test_mentions_are_runs_within_a_sentence() -> None:
    best = [1, 1, 2, 0, 2, 2]
    scores = 5 * F.one_hot(torch.tensor(best), 3).to(torch.float64)
    tags = with_begins(scores, [5, 1]).argmax(1).tolist()
    assert tags == [1, 2, 3, 0, 3, 3]  # B-X I-X B-Y O B-Y | B-Y
    assert with_begins(scores, [6]).argmax(1).tolist() == [1, 2, 3, 0, 3, 4]
    assert with_begins(scores[:0], [0]).shape == (0, 5)


PROTOTYPES = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [-0.0159767956, 0.6826606542, -0.295816453, -0.2138523618, 0.049739975, 0.3022863845],
    [0.025412137, -0.33674455, -0.0829405964, 0.1170667521, -0.6411838868, -0.0736428047],
    [-0.5226275664, -0.3628701083, -0.4887220722, -0.0604022298, -0.352121921, 0.2643133574],
    [-0.1620334858, -0.1177178585, -0.7980079451, -0.059935074, -0.0141640238, -0.0295338743],
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ocilner", [0, 5, 6, 1, 0, 3, 4, 5, 0]), ("ocilner-codebase", [0, 5, 6, 0, 0, 2, 3, 5, 0])],
)
def test_relabelling_in_the_codebase_is_one_too_low(name: str, expected: list[int]) -> None:
    made = learner(name)
    made.means, made.thresholds = F.normalize(torch.tensor(PROTOTYPES)), torch.full((5,), 0.6044685591)
    labels = torch.tensor([0, 5, 6, 0, 0, 0, 0, 5, 0])
    found = made.relabelled(torch.tensor(TOY["teacher_words"][:9]), labels, labels == 0)
    assert found.tolist() == expected
