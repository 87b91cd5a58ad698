"""The pipeline: all that is deployed."""

import time

IMPORTED_NS = time.time_ns()  # since the epoch: whatever file was altered later, this process may have loaded as it was
