"""`python -m l4gm` is the same as `l4gm`."""

from __future__ import annotations

import sys

from l4gm.cli.main import main

sys.exit(main())
