"""``python -m llmkit``: the command line where the command itself is not on the path."""

import sys

from llmkit.cli import main

sys.exit(main())
