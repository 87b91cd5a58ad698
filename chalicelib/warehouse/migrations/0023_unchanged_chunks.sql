-- Chunks are taken over from any earlier run of the same bytes, not from the one that is redriven alone.
ALTER TABLE pipeline.runs ADD COLUMN kept_of text;  -- whose `kept_chunks` they are; no reference: that may be forgotten
