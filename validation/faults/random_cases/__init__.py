"""Random valid cases, drawn from the registries, and what must hold for all of them."""

import os
import tempfile
from pathlib import Path

STORAGE = Path(tempfile.gettempdir()) / "gridflow-hypothesis"
"""Where hypothesis keeps what it has read of the source: not in the tree."""
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(STORAGE))
