"""POF: vectors drawn from statistics of old tags are replayed through the head; words of old types keep theirs."""

CARD = {
    "pof": {
        "label": "POF",
        "class": "POF",
        "architecture": "token",
        "settings": {"replay_weight": 1.0, "feature_weight": 1.0},
        "search": {"replay_weight": {"times": [0.1, 10]}, "feature_weight": {"times": [0.1, 10]}},
        "help": {
            "replay_weight": "weight of the loss on replayed data",
            "feature_weight": "weight of the distance of word vectors from the previous model's",
        },
        "paper": "POF, AAAI 2025 (prototype replay and distillation focused on old classes)",
        "year": 2025,
        "status": "re-implementation",
        "summary": "CE with replay of word vectors drawn around each old tag's prototype; words of old types keep "
        "their vectors.",
        "stores": "one copy of the model; per old tag a mean direction, its spread, mean and deviation of norms, a "
        "count",
        "deviations": "No code and no readable losses were found. Secondary sources give the statistics, the number of "
        "replayed vectors (as many as a tag had words) and a squared distance of vectors on old words. Chosen here: "
        "the weights, normal noise in all directions, and no CE on words to which the previous model gives an old "
        "type. Optimiser, epochs and dev selection are the recipe's.",
    }
}

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_ner_bench.learning.learner import Batch, Output, Step, TagLearner


class POF(TagLearner):
    """CE(all but old words) + replay_weight * CE(head(drawn vectors), their tags) + feature_weight * |h - h_T|^2 / d.

    Old words are unlabelled words to which the previous model gives an old type; the last term is a mean over them. A
    vector of tag c is n * unit(mu_c + s_c e): e is normal noise, and n is normal with the mean and the deviation of the
    tag's norms. In an epoch each old tag is drawn about as often as it had words.
    """

    needs = frozenset({"teacher", "features"})

    def begin_step(self, step: Step) -> None:
        self.train_size = len(step.train)

    def losses(self, batch: Batch, output: Output, teacher: Output | None) -> dict[str, Tensor]:
        if teacher is None or output.words is None or teacher.words is None:
            return super().losses(batch, output, teacher)
        target = self.targets(batch, teacher)
        old = (target == 0) & (teacher.logits.argmax(1) > 0)
        losses = {}
        if not old.all():
            losses["ce"] = F.cross_entropy(output.logits[~old], target[~old])
        if old.any():
            distance = F.mse_loss(output.words[old], teacher.words[old])
            losses["features"] = self.settings["feature_weight"] * distance
        vectors, tags = self.drawn(len(batch.examples) / self.train_size)
        if len(tags):
            replay = F.cross_entropy(self.head(vectors, [len(tags)]), tags)
            losses["replay"] = self.settings["replay_weight"] * replay
        return losses

    def drawn(self, share: float) -> tuple[Tensor, Tensor]:
        """Return vectors ``[n, hidden]`` and their tags; n is ``share`` times the number of words of old tags."""
        # Plug-ins carry tensors, too, under names of their own.
        tags = [tag for tag in range(1, self.n_columns) if f"statistics.{tag}" in self.carried]
        if not tags:
            return torch.empty(0, device=self.device), torch.empty(0, device=self.device)
        statistics = torch.stack([self.carried[f"statistics.{tag}"] for tag in tags])
        direction, (spread, norm, deviation, count) = statistics[:, :-4], statistics[:, -4:].T
        n = max(1, round(share * count.sum().item()))
        chosen = torch.multinomial(count.cpu(), n, replacement=True).to(self.device)
        noise = torch.randn(n, direction.shape[1]).to(direction)
        unit = F.normalize(direction[chosen] + spread[chosen, None] * noise)
        length = norm[chosen] + deviation[chosen] * torch.randn(n).to(direction)
        return length[:, None] * unit, torch.tensor(tags).to(self.device)[chosen]

    def end_step(self, step: Step) -> None:
        words, targets = [], []
        for batch, output in self.outputs(step.batches()):
            assert output.words is not None
            target = batch.tag_targets(self.head.types)
            words.append(output.words[target > 0])
            targets.append(target[target > 0])
        if not targets:
            return
        vectors, target = torch.cat(words), torch.cat(targets)
        for tag in target.unique().cpu().tolist():
            self.carried[f"statistics.{tag}"] = tag_statistics(vectors[target == tag])


def tag_statistics(words: Tensor) -> Tensor:
    """Return the mean unit vector, its spread (per axis), mean and deviation of the norms, and the number of words."""
    norms = words.norm(dim=1)
    unit = F.normalize(words)
    mean = unit.mean(0)
    spread = (unit - mean).square().mean().sqrt()
    numbers = torch.stack([spread, norms.mean(), norms.std(correction=0), torch.full_like(spread, len(words))])
    return torch.cat([mean, numbers])
