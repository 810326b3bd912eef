"""Fine-tuning that does not count unlabelled types as negatives."""

CARD = {
    "masked": {
        "label": "Masked",
        "class": "Masked",
        "architecture": "any",
        "first_step": "base",
        "status": "baseline",
        "paper": "for tags the loss of Cermelli et al., Modeling the Background for Incremental Learning in Semantic "
        "Segmentation, CVPR 2020; for spans SpanKL without distillation (arXiv 2302.12200)",
        "year": 2020,
        "summary": "Fine-tuning in which an unlabelled word may be O or of an old type; for spans, old columns have no "
        "loss.",
        "stores": "nothing",
        "deviations": "Only the loss of the bare learner changes; a method with its own loss or targets stays as it "
        "is. Expected: between fine-tuning and distillation; masked-span equals spankl-nokd.",
    }
}

from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Learner, Output, SpanLearner, TagLearner


class Masked(Learner):
    """A replacement of the base learner's loss, from step 2 on, that leaves types without labels open.

    Methods with a memory derive from this class. On a bare learner, the loss of new sentences would otherwise push down
    the columns that remembered sentences teach.
    """

    def base_losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if self.n_old and self._bare():
            return {"open": self.open_loss(batch, output)}
        return super().base_losses(batch, output, teacher)

    def _bare(self) -> bool:
        """Return True if no method overrides ``losses`` or ``targets``; plug-ins may add to ``losses``."""
        bases, order = (SpanLearner, TagLearner), type(self).__mro__
        methods = (c for c in order[order.index(Masked) :] if issubclass(c, bases) and c not in bases)
        plain_targets = getattr(type(self), "targets", TagLearner.targets) is TagLearner.targets
        return plain_targets and not any("losses" in vars(c) for c in methods)
