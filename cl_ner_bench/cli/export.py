"""`bench export`: a stored model as a folder that needs no other file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cl_ner_bench.cli.output import note, show
from cl_ner_bench.cli.parsing import add_command

EXAMPLES = """\
examples:
  bench export results/synthetic-split/runs/RUN_ID --out my-model
  bench export results/synthetic-split/runs/RUN_ID --step 2 --out my-model
  bench export results/mine/runs/RUN_ID --method my_method.py --out my-model

From Python: load_model("my-model").predict(["Ada Lovelace wrote to London."])
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands,
        "export",
        _execute,
        "write the model of a run as a folder that needs no other file",
        usage="bench export RUN_DIR [--step K] --out DIR",
        description="Write the model of a run as a folder: safetensors, JSON, a model card, encoder and tokenizer.\n"
        "load_model loads that folder; transformers loads it, too, if it can represent the model.",
        epilog=EXAMPLES,
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="the folder of the run, RESULTS_DIR/runs/RUN_ID")
    parser.add_argument(
        "--step",
        type=int,
        metavar="K",
        help="export the model after this step; --keep-models all keeps each (default: the last)",
    )
    parser.add_argument("--method", metavar="FILE.py", help="the file of your own method; it runs as code")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; new or empty")


def _execute(parsed: argparse.Namespace) -> int:
    from cl_ner_bench.deployment.model import open_model
    from cl_ner_bench.storage.model_folder import refuse_out

    refuse_out(parsed.out)
    model = open_model(parsed.run, parsed.step, method=parsed.method, device="cpu")
    written = model.export(parsed.out)
    show(str(parsed.out))
    if written.pipeline:
        note(f"loads with cl_ner_bench.load_model alone: {written.pipeline}")
    else:
        note('loads with cl_ner_bench.load_model, and with transformers.pipeline("token-classification")')
    return 0
