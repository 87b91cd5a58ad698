-- What a key remembers of rows that left it is forgotten after a while: each entry says since when it is kept.
ALTER TABLE pipeline.change_keys ADD COLUMN kept_since timestamptz;  -- the oldest of `past` and `departed`

UPDATE pipeline.change_keys SET
    past = (SELECT coalesce(jsonb_agg(entry || jsonb_build_object('kept_at', now()) ORDER BY place), '[]')
            FROM jsonb_array_elements(past) WITH ORDINALITY AS p (entry, place)),
    departed = (SELECT coalesce(jsonb_agg(jsonb_build_object('order', entry -> 0, 'to', entry -> 1, 'kept_at', now()) ORDER BY place), '[]')
                FROM jsonb_array_elements(departed) WITH ORDINALITY AS d (entry, place)),
    kept_since = now()
WHERE past <> '[]' OR departed <> '[]';

CREATE INDEX change_keys_by_age ON pipeline.change_keys (kept_since) WHERE kept_since IS NOT NULL;

-- A number that people can type; people are mailed of those that have a source.
ALTER TABLE pipeline.quarantined_changes ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY UNIQUE;
CREATE INDEX quarantined_changes_unmailed ON pipeline.quarantined_changes (stream)
    WHERE told_at IS NULL AND source IS NOT NULL;
CREATE INDEX quarantined_changes_mailed ON pipeline.quarantined_changes (stream, told_at) WHERE source IS NOT NULL;

-- A mapped table was emptied at its source: nothing is applied until somebody decides, see `sluice changes resume`.
CREATE TABLE pipeline.change_holds (
    source       text PRIMARY KEY,
    operation    text NOT NULL,
    happened_at  timestamptz NOT NULL,
    held_at      timestamptz NOT NULL DEFAULT now()
);

-- What came of it meanwhile. `seq` is the lake's file and row, see `_raw` of a curated row.
CREATE TABLE pipeline.held_changes (
    source      text NOT NULL,
    batch_id    bigint NOT NULL,
    sequence    numeric(60) NOT NULL,
    seq         bigint NOT NULL,
    stream      text NOT NULL,
    shard       text NOT NULL,
    record      text NOT NULL,
    arrived_at  timestamptz NOT NULL,
    PRIMARY KEY (source, batch_id, sequence)
);

-- Since when a table has no older rows: a change that was committed before is skipped.
CREATE TABLE pipeline.change_truncations (
    source        text PRIMARY KEY,
    truncated_at  timestamptz NOT NULL,
    decided_at    timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE pipeline.change_accounts ADD COLUMN held integer NOT NULL DEFAULT 0;
ALTER TABLE pipeline.change_accounts DROP CONSTRAINT row_account_balances;
ALTER TABLE pipeline.change_accounts ADD CONSTRAINT row_account_balances
    CHECK (read = inserted + updated + deleted + unchanged + skipped + quarantined + held);
