"""CFNER's classifier: cosine logits, new rows imprinted from their words, old rows fixed."""

CARD = {
    "finetune-cfner": {
        "label": "Fine-tune (CFNER)",
        "class": "ImprintedHead",
        "architecture": "token",
        "settings": {"scale": 1.0, "compat": False},
        "paper": "Zheng et al. (CFNER), EMNLP 2022, arXiv 2210.03980: its baseline 'Finetune Only'",
        "year": 2022,
        "status": "re-implementation",
        "summary": "Fine-tuning with a cosine head whose new rows are imprinted and whose old rows are fixed.",
        "stores": "nothing",
        "deviations": "Rows are imprinted from train; with compat from dev, as released. The recipe's AdamW and "
        "schedule instead of SGD. The scale of the cosines starts at 1 and is learned, as released: in a step 1 of few "
        "updates it ends near 1 and little is learned; a larger scale helps. The release's head divides by norms over "
        "the words of a padded batch instead of a word's own norm; that depends on padding and is not repeated.",
    }
}

from cl_ner_bench.learning.imprint import imprint
from cl_ner_bench.learning.learner import Step, TagLearner
from cl_ner_bench.models.heads.cosine import CosineHead


class ImprintedHead(TagLearner):
    """CE on all words with logits scale * cos(word, row); from step 2 on, O and old rows stay as they are.

    The row of a new tag starts from the mean unit vector of its train words, scaled to the mean length of the old rows
    other than O.
    """

    head: CosineHead

    def make_head(self) -> CosineHead:
        return CosineHead(self.encoder.hidden_size, self.settings["scale"])

    def begin_step(self, step: Step) -> None:
        super().begin_step(step)
        if self.n_old:
            self.head.freeze_unlabelled(step.labelled)
            imprint(self, step.batches("dev" if self.settings["compat"] else "train"))
