"""A plug-in that keeps the epoch by labels of the new types, and by agreement with the previous model on old types."""

CARD = {
    "agreement": {
        "label": "Agreement",
        "class": "Agreement",
        "architecture": "any",
        "first_step": "base",
        "status": "baseline",
        "summary": "The epoch that is kept also agrees with the previous model on the old types.",
        "stores": "nothing",
        "deviations": "No method of a paper.",
    }
}

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cl_ner_bench.learning.learner import Batch, Learner, Output, Step
from cl_ner_bench.models.heads.growing import Init

Mentions = set[tuple[int, int, int, str]]  # sentence, start, end, type


class Agreement(Learner):
    """Each epoch's score is the harmonic mean of the dev score and of the agreement with the previous model.

    Agreement is micro-F1 (0..100) of the old types on the step's dev sentences, with the mentions that the previous
    model finds there as reference: no label of an old type is used.
    """

    def grow(self, types: Sequence[str], init: Init) -> None:
        self.old_columns = self.n_columns
        super().grow(types, init)

    def begin_step(self, step: Step) -> None:
        self.before = self._of_old_types(self._without_new_columns(self.outputs(step.batches("dev"))))
        super().begin_step(step)

    def select(self, score: float | None, dev: Iterable[tuple[Batch, Output]]) -> float | None:
        pairs = list(dev)
        score, now = super().select(score, pairs), self._of_old_types(pairs)
        if score is None or not (self.before or now):
            return score
        agreement = 200 * len(self.before & now) / (len(self.before) + len(now))
        return 2 * score * agreement / max(score + agreement, 1e-9)

    def _without_new_columns(self, pairs: Iterable[tuple[Batch, Output]]) -> Iterable[tuple[Batch, Output]]:
        """Yield what the previous model finds: before a step's first update, only the new columns are not its own."""
        for batch, output in pairs:
            logits = output.logits.clone()
            logits[:, self.old_columns :] = float("-inf")
            yield batch, replace(output, logits=logits)

    def _of_old_types(self, pairs: Iterable[tuple[Batch, Output]]) -> Mentions:
        found: Mentions = set()
        for batch, output in pairs if self.unlabelled else ():
            decoded = self.decode(output, batch.lengths, self.unlabelled, nested=False)
            for example, mentions in zip(batch.examples, decoded, strict=True):
                found |= {(example.index, *mention[:3]) for mention in mentions}
        return found
