"""The checks of a method, and the functions that run them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from cl_ner_bench.errors import UserError
from cl_ner_bench.method_card import MethodCard
from cl_ner_bench.method_faults import check_import, describe, hook_of
from cl_ner_bench.testing.conformance.faults import Check, Fault
from cl_ner_bench.testing.conformance.lab import Lab
from cl_ner_bench.testing.conformance.learning import (
    card,
    first_step,
    growth,
    hidden_labels,
    identities,
    learns,
    memory,
    repeats,
    seeds,
    unmoved,
)
from cl_ner_bench.testing.conformance.predictions import predictions
from cl_ner_bench.testing.conformance.stopping import device, gpu, half_precision, padded, process, resumes, stops
from cl_ner_bench.testing.conformance.tasks import (
    no_entities,
    no_other_words,
    one_mention,
    one_sentence,
    returning_type,
)


@dataclass(frozen=True)
class Result:
    """The outcome of a check: a fault with what to change, or a remark."""

    check: str
    fault: str = ""
    remark: str = ""
    seconds: float = 0.0  # processor time
    raised_in: str = ""  # the hook, else the check, that raised another exception than Fault


QUICK: tuple[Check, ...] = (
    card,
    seeds,
    learns,
    first_step,
    identities,
    hidden_labels,
    unmoved,
    growth,
    predictions,
    resumes,
    memory,
    one_sentence,
    one_mention,
    no_entities,
    no_other_words,
    returning_type,
    device,
)


FULL: tuple[Check, ...] = (stops, process, padded, half_precision)
"""The checks that take longer."""
COMPARING = frozenset({first_step, identities, hidden_labels, resumes, device, stops, process, half_precision, gpu})
"""Checks that compare two runs. They also fail if the same seed gives other values."""


def checks(card: MethodCard, full: bool = False) -> list[Check]:
    """Return the checks of a method that apply to its card; ``full`` adds the longer checks."""
    left_out = {first_step} if card.first_step != "base" else set()
    left_out |= {identities} if not card.identities else set()
    longer = FULL + ((gpu,) if torch.cuda.is_available() else ()) if full else ()
    return [check for check in QUICK + longer if check not in left_out]


def run_checks(card: MethodCard, full: bool = False) -> Iterator[Result]:
    """Check a method, and yield the result of each check when it ends.

    The first check learns two steps. An exception there is reported under the name of its hook and ends the checks,
    because all of them learn by the same code.
    """
    try:
        check_import(card)
        lab = Lab(card)
    except UserError as error:
        yield Result("card", str(error))
        return
    except Exception as error:
        yield Result("card", f"the file cannot be run: {describe(error, card)}")
        return
    first, *others = checks(card, full)
    result = run_check(first, lab)
    yield replace(result, check=result.raised_in or result.check)
    for check in others if not result.raised_in else ():
        yield run_check(check, lab)


def run_check(check: Check, lab: Lab) -> Result:
    """Return the result of a check. Any exception that a method raises is a fault."""
    began, fault, remark, raised_in = time.process_time(), "", "", ""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster on tiny tensors
    try:
        if check in COMPARING:
            repeats(lab)
        remark = check(lab)
    except Fault as error:
        fault = str(error)
    except Exception as error:
        fault = str(error) if isinstance(error, UserError | FloatingPointError) else describe(error, lab.card)
        raised_in = hook_of(error, lab.card) or title(check)
    finally:
        torch.set_num_threads(threads)
    return Result(title(check), fault, remark or about(check), time.process_time() - began, raised_in)


def title(check: Check) -> str:
    """Return the printed name of a check."""
    return check.__name__.replace("_", "-")


def about(check: Check) -> str:
    """Return the first line of a check's docstring, which describes it."""
    return (check.__doc__ or "").partition("\n")[0].rstrip(".")
