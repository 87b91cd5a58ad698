-- A run that failed is redriven by another one, which fetches and transforms only what is missing.
ALTER TABLE pipeline.runs
    ADD COLUMN redrive_of         text,     -- no reference: it may have failed where the ledger was out of reach
    ADD COLUMN code               text,     -- what the run's code, suite and columns were, see code_fingerprint.py
    ADD COLUMN kept_partitions    integer,  -- of the run that it redrives: fetched there
    ADD COLUMN kept_chunks        integer;  -- transformed and validated there

CREATE INDEX runs_by_redriven ON pipeline.runs (redrive_of) WHERE redrive_of IS NOT NULL;
