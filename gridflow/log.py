"""Messages of the package, for programs: the logger "gridflow" of `logging`, silent until somebody listens.

logging.basicConfig(level=logging.INFO)      runs and what is compiled; DEBUG: every function that is
"""

import logging

LOG = logging.getLogger("gridflow")
LOG.addHandler(logging.NullHandler())
