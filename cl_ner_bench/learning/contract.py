"""The contract of a method, checked while it learns."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from cl_ner_bench.errors import UserError
from cl_ner_bench.learning.learner import Learner, Need
from cl_ner_bench.learning.optim import Optimizer


def needs_of(learner: Learner) -> frozenset[Need]:
    """Return the needs of a learner. Raise UserError if one is unknown."""
    if hasattr(learner, "needs_teacher"):  # in methods written for earlier versions
        name = type(learner).__name__
        raise UserError(f'{name}.needs_teacher is not asked any more: return frozenset({{"teacher"}}) from needs')
    for need in learner.needs:
        if need not in get_args(Need):
            known = ", ".join(get_args(Need))
            raise UserError(f"{type(learner).__name__}.needs holds {need!r}; known are {known}")
    return learner.needs


def check_losses(learner: Learner, losses: Any) -> None:
    """Raise UserError unless ``losses`` are named scalar tensors."""
    if isinstance(losses, dict):
        wrong = [name for name, value in losses.items() if not isinstance(value, Tensor) or value.ndim]
        if losses and not wrong:
            return
        found = f"{_kind(losses[wrong[0]])} for {wrong[0]!r}" if wrong else "an empty dict"
    else:
        found = _kind(losses)
    expected = "a dict of scalar tensors, as {'ce': loss}"
    raise UserError(f"{hook(learner, 'losses')} must return {expected}; it returned {found}")


def hook(learner: Learner, name: str) -> str:
    """Return ``FILE:LINE: CLASS.HOOK`` for the place where a method defines a hook."""
    code = inspect.unwrap(getattr(type(learner), name)).__code__
    return f"{code.co_filename}:{code.co_firstlineno}: {type(learner).__name__}.{name}"


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def shapes_of(learner: Learner) -> dict[str, torch.Size]:
    """Return the shapes of all stored tensors except those in ``carried``, which may have any shape."""
    stored = learner.state_dict(keep_vars=True)
    return {name: value.shape for name, value in stored.items() if not name.startswith("carried.")}


def check_shapes(learner: Learner, shapes: Mapping[str, torch.Size], where: str) -> None:
    """Raise UserError if a hook added, removed or reshaped tensors."""
    found = shapes_of(learner)
    if changed := sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name)):
        raise UserError(
            f"{type(learner).__name__}: {where} added, removed or reshaped {some(changed)}: a stored model could not "
            "be loaded. Make modules and buffers in __init__ or grow, and keep other tensors in self.carried."
        )


def check_groups(learner: Learner, optimizer: Optimizer) -> None:
    """Raise UserError unless the optimiser has each trainable parameter exactly once, and no others."""
    counts, own = Counter(optimizer.parameters), [*learner.named_parameters()]
    left_out = [name for name, p in own if p.requires_grad and not counts[p]]
    twice = [name for name, p in own if counts[p] > 1]
    if left_out:
        why = (
            f"leaves out {some(left_out)}, which would never learn. Return them there (they must be made by then), or "
            "freeze them with requires_grad_(False)"
        )
    elif twice:
        why = f"returns {some(twice)} twice"
    elif counts.keys() - {p for _, p in own}:
        why = "returns a parameter that is in no module of the learner: it would be lost when the step ends"
    else:
        return
    raise UserError(f"{type(learner).__name__}.parameter_groups {why}.")


def some(names: Sequence[str]) -> str:
    """Return the first names of parameters, whole, and how many more there are."""
    return ", ".join(dict.fromkeys(names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
