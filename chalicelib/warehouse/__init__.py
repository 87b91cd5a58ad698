"""Postgres: the curated tables, the staging of a run, the ledger."""
