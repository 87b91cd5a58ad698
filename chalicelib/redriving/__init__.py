"""Failed runs, started again by a run that fetches and transforms only what is missing. docs/redriving.md."""
