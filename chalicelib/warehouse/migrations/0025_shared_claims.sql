-- Since when somebody else knows of the claim, on a row of it: he may be about to begin its replay, so that who took it and
-- could not begin it does not release it.
ALTER TABLE pipeline.quarantine ADD COLUMN claim_found_at timestamptz;
