"""Entry point of ``python -m cl_ner_bench``, which is the same as ``bench``."""

import sys

from cl_ner_bench.cli.main import main

sys.exit(main())
