"""`python -m gridflow` is the command `gridflow`."""

import sys

from gridflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
