"""Experience replay: a batch of remembered sentences beside each batch of new ones."""

CARD = {
    "replay": {
        "label": "Replay",
        "class": "Replay",
        "architecture": "any",
        "group": "exemplar",
        "settings": {"per_type": 5, "exemplar_choice": "random", "replay_weight": 1.0, "relabel": False},
        "search": {"replay_weight": {"times": [0.1, 10]}},
        "help": {
            "per_type": "number of remembered sentences of each type",
            "exemplar_choice": "how remembered sentences are chosen: random, reservoir or herding (iCaRL)",
            "replay_weight": "weight of the loss on replayed data",
            "relabel": "true: in remembered sentences, the previous model labels the types that came later",
        },
        "paper": "Chaudhry et al., On Tiny Episodic Memories in Continual Learning, arXiv 1902.10486",
        "year": 2019,
        "status": "re-implementation",
        "summary": "The loss of the new sentences + the loss of as many remembered ones, each on the types labelled in "
        "it.",
        "stores": "per_type sentences of each type",
        "deviations": "Each sentence, new or remembered, is learned only with the types that were labelled in it: an "
        "unlabelled word is O or of another type (token), other columns have no loss (span). A method with its own "
        "loss or targets keeps them for new sentences. exemplar_choice is random, herding (iCaRL) or reservoir. With "
        "reservoir, a type that comes back keeps per_type sentences, a uniform sample of all its sentences so far. A "
        "sentence is stored once; the code base of arXiv 2312.07887 stores it for each word of a tag. With relabel, "
        "the previous model labels the types that came after a sentence (of tags, only words without a label). No "
        "setting was tuned. Expected: far above fine-tuning with a few sentences of each type. With the exemplars' old "
        "labels, which take later types for O, it would end below fine-tuning.",
    },
}

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.batches import Example
from cl_ner_bench.learning.learner import Batch, Output, Step
from cl_ner_bench.models.heads.growing import Init

from .masked import Masked


class Remembering(Masked):
    """A memory of per_type sentences of each labelled type, chosen at random, by a reservoir or by herding."""

    needs = frozenset({"memory"})

    def keep(self, step: Step) -> Iterable[int]:
        choice = self.settings["exemplar_choice"]
        choices = {"random": super().keep, "reservoir": self._reservoirs, "herding": self._herds}
        if choice not in choices:
            raise UserError(f"exemplar_choice is {choice!r}; expected {', '.join(choices)}")
        return choices[choice](step)

    def _reservoirs(self, step: Step) -> Iterable[int]:
        """Return this step's sentences in the samples of labelled types; forget sentences that no sample holds.

        A sample is uniform among all sentences of its type so far. ``carried`` holds, for each type, the number of its
        sentences and the ids of its sample.
        """
        for type in step.labelled:
            name = f"reservoir.{type}"
            seen, *sample = self.carried[name].tolist() if name in self.carried else [0]
            for sentence in step.train:
                if any(m.type == type for m in sentence.mentions):
                    seen += 1
                    place = len(sample) if seen <= self.settings["per_type"] else int(torch.randint(seen, ()))
                    if place < self.settings["per_type"]:
                        sample[place : place + 1] = [sentence.id]
            self.carried[name] = torch.tensor([seen, *sample])
        samples = {name: set(self.carried[name][1:].tolist()) for name in self.carried if name.startswith("reservoir.")}
        kept = set().union(*samples.values())
        self.memory.exemplars = [exemplar for exemplar in self.memory.exemplars if exemplar.id in kept]
        return sorted(
            set().union(*(samples[f"reservoir.{type}"] for type in step.labelled)) & {s.id for s in step.train}
        )

    def _herds(self, step: Step) -> Iterable[int]:
        """Return for each labelled type the sentences whose mean vector stays nearest to that of all (iCaRL)."""
        found: dict[str, list[tuple[int, Tensor]]] = {type: [] for type in step.labelled}
        for batch, output in self.outputs(step.batches()):
            assert output.words is not None
            for example, words in zip(batch.examples, output.words.split(batch.lengths), strict=True):
                for type in step.labelled:
                    inside = [i for m in example.sentence.mentions if m.type == type for i in range(m.start, m.end)]
                    if inside:
                        found[type].append((example.sentence.id, words[inside].mean(0)))
        picked: dict[int, None] = {}
        for of_type in found.values():
            if of_type:
                picks = herded(torch.stack([vector for _, vector in of_type]), self.settings["per_type"])
                picked |= dict.fromkeys(of_type[i][0] for i in picks)
        return list(picked)


class Replay(Remembering):
    """The loss of the batch + replay_weight * open loss of an equally large batch from memory.

    The open loss of a sentence covers the types that were labelled in it, and leaves all others open. With ``relabel``,
    the previous model labels the types that were learned after the sentence, at the start of each step.
    """

    def grow(self, types: Sequence[str], init: Init) -> None:
        if self.n_old and self.settings["relabel"]:  # in a step: until the head grows, this is the previous model
            self.memory.relabel(self._relabelled())
        super().grow(types, init)

    def _relabelled(self) -> Iterator[Example]:
        """Yield the remembered sentences with the mentions that the model finds of types learned after them."""
        batches = (self.memory.batch([i]) for i in range(len(self.memory)))
        for batch, output in self.outputs(batches):
            (example,) = batch.examples
            own = example.labelled or ()
            last = max(step for step, types in enumerate(self.grown) if {*types} & {*own})
            later = tuple(type for types in self.grown[last + 1 :] for type in types)
            (found,) = self.decode(output, batch.lengths, later, True) if later else [[]]
            known = example.sentence.mentions
            free = [
                p
                for p in found
                if self.architecture == "span" or all(p.end <= m.start or m.end <= p.start for m in known)
            ]
            yield example.with_mentions(free, later)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        losses, weight = super().losses(batch, output, teacher), self.settings["replay_weight"]
        if weight and (remembered := self.memory.draw(len(batch.examples))):
            losses["replay"] = weight * self.open_loss(remembered, self(remembered))
        return losses


def herded(vectors: Tensor, count: int) -> list[int]:
    """Return up to ``count`` rows of ``vectors``; each next one brings their mean nearest to the mean of all.

    Vectors count by their direction (Rebuffi et al., iCaRL, CVPR 2017); no row is picked twice.
    """
    units = F.normalize(vectors, dim=1)
    mean, total, picked = units.mean(0), torch.zeros_like(units[0]), list[int]()
    for n in range(min(count, len(units))):
        distances = (mean - (total + units) / (n + 1)).norm(dim=1)
        distances[picked] = float("inf")
        picked.append(int(distances.argmin()))
        total = total + units[picked[-1]]
    return picked
