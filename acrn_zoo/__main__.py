"""``python -m acrn_zoo`` is ``acrn-zoo``."""

import sys

from acrn_zoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
