"""Nearest class means on a frozen encoder, and SLDA, whose means share a covariance."""

CARD = {
    "architecture": "token",
    "group": "closed-form",
    "composes": False,
    "status": "re-implementation",
    "search": {
        "lr": None,
        "head_lr": None,
        "epochs": None,
        "batch_size": None,
        "o_prototypes": {"times": [0.2, 4]},
        "shrinkage": {"times": [0.01, 100]},
    },
    "help": {
        "o_prototypes": "number of clusters of unlabelled words, for each step",
        "shrinkage": "share of the mean variance that is added to the covariance",
    },
    "variants": {
        "ncm": {
            "label": "NCM",
            "class": "NCM",
            "settings": {"o_prototypes": 50},
            "paper": "Mensink et al., Distance-Based Image Classification: Generalizing to New Classes at Near-Zero "
            "Cost, PAMI 2013; as a baseline of continual learning in Janson et al., A Simple Baseline that Questions "
            "the Use of Pretrained-Models in Continual Learning, 2022, arXiv 2210.04428",
            "year": 2013,
            "summary": "A word gets the tag with the nearest mean vector if this mean is nearer than O by the tag's "
            "margin.",
            "stores": "a mean vector for each tag, o_prototypes vectors of O for each step",
            "deviations": "The input is words instead of images, compared by cosine. O has many clusters: in each "
            "step, o_prototypes k-means centres of the words without a label, except words that the previous model "
            "tags. Each tag has a margin over the nearest centre. The margin is chosen by F1 on a fifth of the step's "
            "train, which does not join the means. The encoder is the pretrained one. No setting was tuned. Expected: "
            "no forgetting by training, but the frozen encoder limits the scores.",
        },
        "slda": {
            "label": "SLDA",
            "class": "SLDA",
            "settings": {"shrinkage": 1e-4},
            "paper": "Hayes and Kanan, Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis, "
            "CVPR Workshops 2020, arXiv 1909.01520",
            "year": 2020,
            "summary": "Linear discriminant analysis with a shared, shrunk covariance that is summed over all steps.",
            "stores": "a mean vector and a count for each tag, a covariance matrix",
            "deviations": "The input is words instead of images. A word without a label is O; words that the previous "
            "model tags are left out. Tags have a margin over O as in ncm, instead of priors. The covariance is shrunk "
            "by a share of its mean variance. The encoder is the pretrained one. No setting was tuned. Expected: above "
            "ncm.",
        },
    },
}

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.closed_form import ClosedForm, PseudoTags, best_threshold, clusters, hold_out, tag_columns
from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner

_SAMPLE = 2000
"""Sentences from whose words without a label the centres of O are computed."""
_NEVER = 1e9
"""The margin of a tag that no word had from which its mean is computed."""


class NearestMean(ClosedForm, TagLearner):
    """The logit of a tag is score(tag) - score(O) - margin; the logit of O is 0.

    A margin is the one with the best F1 on a held-out fifth of the step's train. The words of that fifth do not join
    the means, because the score of a mean of few words depends on their number.
    """

    def fit(self, step: Step) -> None:
        tags = PseudoTags(self, step)
        rest, held = hold_out(len(step.train))
        self.open(step, tags, rest)
        seen = torch.zeros_like(tags.counts)
        for batch, words in self.encoded(step, rest):
            self.add(words, tags(batch))
            seen += torch.bincount(tags(batch), minlength=len(seen))
        found = [(self.scores(words), tags(batch)) for batch, words in self.encoded(step, held)]
        margins = self._widened("margins")
        for tag in tag_columns(self.head.types, self.labelled):
            margins[tag] = 0 if seen[tag] else _NEVER
            if found and seen[tag]:
                scores, gold = torch.cat([s[:, tag] for s, _ in found]), torch.cat([t == tag for _, t in found])
                best = best_threshold(scores, gold, torch.ones_like(scores))
                margins[tag] = best[0] if best else scores.max()  # no held-out word has the tag: accept none of them
        self.carried["margins"] = margins

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        if "margins" not in self.carried:  # before the first step
            return output
        assert output.words is not None
        known = self._widened("margins")
        return replace(output, logits=self.scores(output.words) - known)

    def open(self, step: Step, tags: PseudoTags, rest: list[int]) -> None:
        """Prepare the step's sums."""
        raise NotImplementedError

    def add(self, words: Tensor, tags: Tensor) -> None:
        """Add words ``[words, hidden]`` with their tags."""
        raise NotImplementedError

    def scores(self, words: Tensor) -> Tensor:
        """Return how much better each tag fits than O ``[words, columns]``; 0 for O."""
        raise NotImplementedError

    def _widened(self, name: str, *shape: int) -> Tensor:
        """Return a carried tensor ``[columns, *shape]`` with zeros for columns that it does not have yet."""
        wide = torch.zeros(self.n_columns, *shape, device=self.device)
        if name in self.carried:
            wide[: len(self.carried[name])] = self.carried[name]
        return wide


class NCM(NearestMean):
    """Scores are cosines of a word: with the mean of a tag's labelled words, or with the nearest centre of O."""

    def open(self, step: Step, tags: PseudoTags, rest: list[int]) -> None:
        self.carried["sums"] = self._widened("sums", self.encoder.hidden_size)
        sample = [F.normalize(words[tags(batch) == 0], dim=1) for batch, words in self.encoded(step, rest[:_SAMPLE])]
        centres = clusters(torch.cat(sample), self.settings["o_prototypes"])
        known = [self.carried["centres"]] if "centres" in self.carried else []
        self.carried["centres"] = torch.cat([*known, centres])

    def add(self, words: Tensor, tags: Tensor) -> None:
        labelled = torch.isin(tags, torch.tensor(tag_columns(self.head.types, self.labelled)).to(tags.device))
        self.carried["sums"].index_add_(0, tags[labelled], F.normalize(words[labelled], dim=1))

    def scores(self, words: Tensor) -> Tensor:
        units, means = F.normalize(words, dim=1), F.normalize(self._widened("sums", words.shape[1]), dim=1)
        to_centres = F.pad(units @ self.carried["centres"].T, (0, 1), value=-1)  # O without any word is farthest
        of_o = to_centres.amax(1, keepdim=True)
        return torch.cat([torch.zeros_like(of_o), units @ means[1:].T - of_o], dim=1)


class SLDA(NearestMean):
    """A score is mu P h - mu P mu / 2, with P = (shared covariance + shrinkage * its mean variance * I)^-1."""

    def open(self, step: Step, tags: PseudoTags, rest: list[int]) -> None:
        hidden = self.encoder.hidden_size
        self.carried["sums"], self.carried["counts"] = self._widened("sums", hidden), self._widened("counts")
        if "squares" not in self.carried:
            self.carried["squares"] = torch.zeros(hidden, hidden, device=self.device)

    def add(self, words: Tensor, tags: Tensor) -> None:
        # Old tags that the previous model gives are left out: its errors would draw the means towards O, and add up.
        known = torch.isin(tags, torch.tensor([0, *tag_columns(self.head.types, self.labelled)]).to(tags.device))
        words, tags = words[known], tags[known]
        self.carried["sums"].index_add_(0, tags, words)
        self.carried["counts"].index_add_(0, tags, torch.ones_like(words[:, 0]))
        self.carried["squares"].add_(words.T @ words)

    def scores(self, words: Tensor) -> Tensor:
        counts = self._widened("counts")[:, None].double().clamp(min=1)
        means = self._widened("sums", words.shape[1]).double() / counts
        within = self.carried["squares"].double() - (counts * means).T @ means
        covariance = within / counts.sum()
        shrunk = self.settings["shrinkage"] * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
        weights = torch.linalg.solve(covariance + shrunk, means.T)
        scores = words.double() @ weights - (means * weights.T).sum(1) / 2
        return (scores - scores[:, :1]).to(words.dtype)
