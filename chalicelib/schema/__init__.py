"""What becomes of records that no longer look as their source declares: its contract, and what a run may change.

See docs/schema-changes.md.
"""

from __future__ import annotations

DISCARD = "discard"  # unknown fields stay in the raw layer and are counted
FREEZE = "freeze"  # the run fails and says what changed
EVOLVE = "evolve"  # columns are added and types widened, in the publishing transaction

CONTRACTS = (DISCARD, FREEZE, EVOLVE)
