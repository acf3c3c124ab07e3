"""`python -m doggan` is `doggan`."""

import sys

from doggan.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
