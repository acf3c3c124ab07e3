"""`python -m doggan` is `doggan`."""

import sys

from doggan.cli import main

if __name__ == "__main__":
    sys.exit(main())
