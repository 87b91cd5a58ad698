"""Quarantined rows: listed, replayed by a run of their own, discarded. docs/quarantine.md."""
