"""``python -m cl_ner_bench`` is ``bench``."""

import sys

from cl_ner_bench.cli.main import main

sys.exit(main())
