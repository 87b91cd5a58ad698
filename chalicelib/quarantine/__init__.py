"""Quarantined rows: listed, replayed by a run of their own, discarded. docs/quarantine.md."""

# The one partition of a replay: nothing is asked of the source. No field of its own, which each of 2,000 partitions of
# other runs would carry through the state machine
REQUEST = {"replay": "of the quarantine"}
