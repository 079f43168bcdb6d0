"""`python -m rlhf_ext`, the same as `rlhf-ext`."""

import sys

from .cli import main

sys.exit(main())
