"""Pseudo-rehearsal: the previous model labels text from another source, which is learned beside new sentences."""

CARD = {
    "pseudo-rehearsal": {
        "label": "Pseudo-Rehearsal",
        "class": "PseudoRehearsal",
        "architecture": "any",
        "group": "exemplar",
        "settings": {"rehearsal_text": "", "rehearsal_sentences": 1000, "rehearsal_weight": 1.0},
        "search": {"rehearsal_weight": {"times": [0.1, 10]}},
        "help": {
            "rehearsal_text": "a text file with one sentence per line; the previous model labels it",
            "rehearsal_sentences": "number of sentences of the text to use, from its beginning",
            "rehearsal_weight": "weight of the loss on that text",
        },
        "files": ["rehearsal_text"],
        "identities": {"masked": {"rehearsal_weight": 0.0}},
        "paper": "Robins, Catastrophic Forgetting, Rehearsal and Pseudorehearsal, Connection Science 7(2), 1995; on "
        "text, as spaCy's author advises: Honnibal, Pseudo-rehearsal, explosion.ai/blog, 2017",
        "year": 2017,
        "status": "re-implementation",
        "summary": "The loss of the new sentences + the loss of as many sentences of another text, which the previous "
        "model labels.",
        "stores": "the text: the first rehearsal_sentences sentences of the file",
        "deviations": "rehearsal_text names a UTF-8 file with one sentence a line and spaces between words; empty "
        "lines do not count. It should not be text of the corpus. The text is kept with the model (its bytes count as "
        "carried), so do not give the model away if you may not give the text away. The text's labels are the mentions "
        "that decoding finds, without scores; for spans, all with a probability of at least 0.5, overlapping or not. "
        "They cover old types only and leave others open. New sentences are learned as in masked, unless a method has "
        "its own loss. Number of sentences and weight were not tuned. Expected: between masked and replay, nearer to "
        "replay if the text has more mentions of old types.",
    },
}

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Batch
from cl_ner_bench.learning.learner import Output
from cl_ner_bench.learning.self_labelled import self_labelled
from cl_ner_bench.models.heads.growing import Init

from .masked import Masked

LINE_BYTES = 1 << 16  # of a sentence; a file with a longer line is no file of sentences


class PseudoRehearsal(Masked):
    """The loss of the batch + rehearsal_weight * open loss of an equally large batch of the text.

    The labels of the text are the mentions of old types that the previous model finds, once per step.
    """

    needs = frozenset({"all_embeddings"})

    def grow(self, types: Sequence[str], init: Init) -> None:
        if self.n_old:  # in a step: until the head grows, this is the previous model
            words = [line.split(" ") for line in self._text().split("\n")]
            self.rehearsed = tuple(self_labelled(self, words, "rehearsal_text"))
        super().grow(types, init)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses, weight = super().losses(batch, output, teacher), self.settings["rehearsal_weight"]
        if weight and self.n_old:
            drawn = torch.randperm(len(self.rehearsed))[: len(batch.examples)].tolist()
            mixed = Batch(tuple(self.rehearsed[i] for i in drawn), batch.device)
            losses["rehearsal"] = weight * self.open_loss(mixed, self(mixed))
        return losses

    def _text(self) -> str:
        """Return the text, one sentence per line and a space between words; ``carried`` keeps it from step 2 on."""
        if "rehearsal_text" not in self.carried:
            text = "\n".join(read(self.settings["rehearsal_text"], self.settings["rehearsal_sentences"]))
            self.carried["rehearsal_text"] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        return self.carried["rehearsal_text"].cpu().numpy().tobytes().decode()


def read(path: str, count: int) -> list[str]:
    """Return the first ``count`` sentences of a file. Raise UserError if it is no file of sentences."""
    if count < 1:
        raise UserError(f"rehearsal_sentences is {count}; expected 1 or more")
    if not path or not Path(path).is_file():  # a pipe or a device may have no end
        raise UserError(f"rehearsal_text is {path!r}; expected a file with one sentence of words a line")
    sentences: list[str] = []
    with Path(path).open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES + 1), b""), 1):
            if len(line) > LINE_BYTES:
                raise UserError(f"{path}:{number}: more than {LINE_BYTES:,} bytes; expected one sentence a line")
            try:
                words = line.decode("utf-8-sig").split()
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{number}: no UTF-8 ({error.reason}); convert the file") from None
            sentences += [" ".join(words)] if words else []
            if len(sentences) == count:
                break
    if not sentences:
        raise UserError(f"{path}: holds no sentence; expected one a line, its words between spaces")
    return sentences
