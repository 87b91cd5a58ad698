-- name: shard_position -- locked: one invocation at a time takes over or finishes
SELECT sequence FROM pipeline.change_shards WHERE stream = %(stream)s AND shard = %(shard)s FOR UPDATE;

-- name: begin_shard
INSERT INTO pipeline.change_shards (stream, shard, sequence) VALUES (%(stream)s, %(shard)s, -1)
ON CONFLICT (stream, shard) DO NOTHING;

-- name: move_shard -- forwards only
UPDATE pipeline.change_shards SET sequence = %(sequence)s, moved_at = now()
WHERE stream = %(stream)s AND shard = %(shard)s AND sequence = %(from)s;

-- name: abandon_files -- what an earlier invocation began and did not finish
UPDATE pipeline.change_files SET state = 'abandoned'
WHERE stream = %(stream)s AND shard = %(shard)s AND state = 'writing';

-- name: abandoned_files
SELECT key FROM pipeline.change_files WHERE stream = %(stream)s AND shard = %(shard)s AND state = 'abandoned';

-- name: forget_abandoned_files -- after the longest life of a Lambda nothing can write them any more
DELETE FROM pipeline.change_files
WHERE stream = %(stream)s AND shard = %(shard)s AND state = 'abandoned' AND began_at < now() - interval '20 minutes';

-- name: next_batch
SELECT nextval('pipeline.change_batch_ids');

-- name: begin_file
INSERT INTO pipeline.change_files (batch_id, part, stream, shard, key, rows, state) VALUES %s;

-- name: finish_files
UPDATE pipeline.change_files SET state = 'written' WHERE batch_id = %(batch_id)s AND state = 'writing';

-- name: unfinished_files -- of these keys those that an invocation has not finished, or has given up
SELECT key FROM pipeline.change_files WHERE key = ANY (%(keys)s) AND state <> 'written';

-- name: add_columns
INSERT INTO pipeline.change_columns (schema_name, table_name, column_name, type) VALUES %s
ON CONFLICT (schema_name, table_name, column_name) DO NOTHING;

-- name: columns -- in the order in which they were first seen
SELECT column_name, type FROM pipeline.change_columns
WHERE schema_name = %(schema)s AND table_name = %(table)s ORDER BY place;

-- name: seen_records -- on any shard: a key moves to another when the stream is divided
SELECT t.transaction, r.id
FROM unnest(%(transactions)s::text[], %(ids)s::bigint[]) AS r (transaction, id)
JOIN pipeline.change_transactions AS t ON t.stream = %(stream)s AND t.transaction = r.transaction AND t.records @> r.id;

-- name: add_seen_records
INSERT INTO pipeline.change_transactions AS t (stream, transaction, shard, records) VALUES %s
ON CONFLICT (stream, transaction, shard) DO UPDATE SET records = t.records + excluded.records, seen_at = now();

-- name: forget_seen_records -- a stream keeps its records for 7 days; DMS starts again where it was
DELETE FROM pipeline.change_transactions WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM pipeline.change_transactions WHERE seen_at < now() - interval '14 days' LIMIT 2000));

-- name: add_change_batch
INSERT INTO pipeline.change_batches
    (id, stream, shard, first_sequence, last_sequence, records, stored, duplicates, controls, malformed)
VALUES (%(id)s, %(stream)s, %(shard)s, %(first_sequence)s, %(last_sequence)s, %(records)s, %(stored)s, %(duplicates)s,
        %(controls)s, %(malformed)s);

-- name: add_change_account
INSERT INTO pipeline.change_accounts
    (batch_id, source, read, inserted, updated, deleted, unchanged, skipped, quarantined, held)
VALUES (%(batch_id)s, %(source)s, %(read)s, %(inserted)s, %(updated)s, %(deleted)s, %(unchanged)s, %(skipped)s,
        %(quarantined)s, %(held)s);

-- name: quarantine_change
INSERT INTO pipeline.quarantined_changes
    (stream, shard, sequence, batch_id, source, reasons, record, arrived_at) VALUES %s;

-- name: add_control
INSERT INTO pipeline.change_controls
    (stream, shard, sequence, batch_id, operation, schema_name, table_name, control, source, happened_at)
VALUES (%(stream)s, %(shard)s, %(sequence)s, %(batch_id)s, %(operation)s, %(schema)s, %(table)s, %(control)s,
        %(source)s, %(happened_at)s);

-- name: untold_records -- of any shard of the stream, but those that another invocation tells of just now
SELECT shard, sequence, reasons -> 0 ->> 'message' FROM pipeline.quarantined_changes
WHERE stream = %(stream)s AND told_at IS NULL AND source IS NULL
ORDER BY shard, sequence LIMIT %(limit)s FOR UPDATE SKIP LOCKED;

-- name: told_records
UPDATE pipeline.quarantined_changes AS q SET told_at = now()
FROM unnest(%(shards)s::text[], %(sequences)s::numeric[]) AS t (shard, sequence)
WHERE q.stream = %(stream)s AND q.shard = t.shard AND q.sequence = t.sequence;

-- name: lock_mails -- one invocation at a time mails of a stream's quarantine
SELECT pg_try_advisory_xact_lock(hashtextextended('quarantine of ' || %(stream)s, 0))
    AND NOT EXISTS (SELECT FROM pipeline.quarantined_changes
                    WHERE stream = %(stream)s AND source IS NOT NULL AND told_at > now() - %(pause)s);

-- name: mail_records -- by source: how many, the first one, some reasons; told of when the transaction ends
WITH told AS (
    UPDATE pipeline.quarantined_changes SET told_at = now()
    WHERE stream = %(stream)s AND told_at IS NULL AND source IS NOT NULL
    RETURNING id, source, reasons -> 0 ->> 'message' AS reason
)
SELECT source, count(*)::int, min(id), (array_agg(reason ORDER BY id))[1:%(examples)s]
FROM told GROUP BY source ORDER BY source;

-- name: quarantine_list -- the newest first
SELECT id, added_at, stream, shard, sequence::text, source, reasons, length(record) AS characters
FROM pipeline.quarantined_changes
WHERE (%(source)s::text IS NULL OR source = %(source)s) AND (NOT %(malformed)s OR source IS NULL)
ORDER BY id DESC LIMIT %(limit)s;

-- name: quarantined_change
SELECT id, added_at, arrived_at, told_at, batch_id, stream, shard, sequence::text, source, reasons, record
FROM pipeline.quarantined_changes WHERE id = %(id)s;

-- name: untold_control
SELECT shard, sequence, operation, schema_name, table_name, control, source, happened_at FROM pipeline.change_controls
WHERE stream = %(stream)s AND told_at IS NULL AND source IS NOT NULL AND operation = ANY (%(operations)s)
ORDER BY shard, sequence LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: told_control
UPDATE pipeline.change_controls SET told_at = now()
WHERE stream = %(stream)s AND shard = %(shard)s AND sequence = %(sequence)s;

-- name: key_positions
SELECT key, position, committed_at, since, stale, past, departed FROM pipeline.change_keys
WHERE table_name = %(table)s AND key = ANY (%(keys)s);

-- name: set_key_positions
INSERT INTO pipeline.change_keys
    (table_name, key, position, committed_at, deleted, since, stale, past, departed, kept_since)
VALUES %s
ON CONFLICT (table_name, key) DO UPDATE
SET position = excluded.position, committed_at = excluded.committed_at, deleted = excluded.deleted,
    since = excluded.since, stale = excluded.stale, past = excluded.past,
    departed = excluded.departed, kept_since = excluded.kept_since;

-- name: forget_left_rows -- what a key remembers of rows that left it, longer than the stream keeps what may ask for it
UPDATE pipeline.change_keys AS k SET
    past = (SELECT coalesce(jsonb_agg(entry ORDER BY place), '[]')
            FROM jsonb_array_elements(k.past) WITH ORDINALITY AS p (entry, place)
            WHERE (entry ->> 'kept_at')::timestamptz >= now() - interval '14 days'),
    departed = (SELECT coalesce(jsonb_agg(entry ORDER BY place), '[]')
                FROM jsonb_array_elements(k.departed) WITH ORDINALITY AS d (entry, place)
                WHERE (entry ->> 'kept_at')::timestamptz >= now() - interval '14 days'),
    kept_since = (SELECT min((entry ->> 'kept_at')::timestamptz) FROM jsonb_array_elements(k.past || k.departed) AS e (entry)
                  WHERE (entry ->> 'kept_at')::timestamptz >= now() - interval '14 days')
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM pipeline.change_keys WHERE kept_since < now() - interval '14 days' LIMIT 2000 FOR UPDATE SKIP LOCKED));

-- name: current_rows -- the rows of these keys, their values as text
SELECT {values} FROM {curated} AS t JOIN unnest({arrays}) AS k ({names}) ON {same_key};

-- name: delete_rows
DELETE FROM {curated} AS t USING unnest({arrays}) AS k ({names}) WHERE {same_key};

-- name: keep_deleted_rows
INSERT INTO pipeline.deleted_rows (batch_id, source, table_name, row)
SELECT %(batch_id)s, %(source)s, %(table)s, to_jsonb(t) FROM {curated} AS t JOIN unnest({arrays}) AS k ({names}) ON {same_key};

-- name: make_incoming -- for the length of a transaction
CREATE TEMPORARY TABLE {incoming} ({columns}) ON COMMIT DROP;

-- name: drop_incoming
DROP TABLE {incoming};

-- name: hold -- what is applied to these sources meanwhile waits; who resumes waits for us
INSERT INTO pipeline.change_holds (source, operation, happened_at) VALUES (%(source)s, %(operation)s, %(happened_at)s)
ON CONFLICT (source) DO UPDATE SET operation = excluded.operation, happened_at = greatest(change_holds.happened_at, excluded.happened_at);

-- name: held_sources
SELECT source FROM pipeline.change_holds WHERE source = ANY (%(sources)s) ORDER BY source FOR SHARE;

-- name: holds
SELECT h.source, h.operation, h.happened_at, h.held_at,
       (SELECT count(*) FROM pipeline.held_changes AS c WHERE c.source = h.source) AS records
FROM pipeline.change_holds AS h ORDER BY h.source;

-- name: hold_change
INSERT INTO pipeline.held_changes (source, batch_id, sequence, seq, stream, shard, record, arrived_at) VALUES %s;

-- name: lock_hold
SELECT happened_at FROM pipeline.change_holds WHERE source = %(source)s FOR UPDATE;

-- name: end_hold
DELETE FROM pipeline.change_holds WHERE source = %(source)s;

-- name: held_batches
SELECT DISTINCT batch_id FROM pipeline.held_changes WHERE source = %(source)s ORDER BY batch_id;

-- name: held_records
SELECT record FROM pipeline.held_changes WHERE source = %(source)s;

-- name: take_held -- a batch's, in the shard's order
WITH taken AS (
    DELETE FROM pipeline.held_changes WHERE source = %(source)s AND batch_id = %(batch_id)s
    RETURNING stream, shard, sequence, seq, record, arrived_at
)
SELECT stream, shard, sequence, seq, record, arrived_at FROM taken ORDER BY sequence;

-- name: account_for_held
UPDATE pipeline.change_accounts
SET held = held - %(taken)s, inserted = inserted + %(inserted)s, updated = updated + %(updated)s,
    deleted = deleted + %(deleted)s, unchanged = unchanged + %(unchanged)s, skipped = skipped + %(skipped)s,
    quarantined = quarantined + %(quarantined)s
WHERE batch_id = %(batch_id)s AND source = %(source)s;

-- name: truncated_at
SELECT truncated_at FROM pipeline.change_truncations WHERE source = %(source)s;

-- name: set_truncated_at
INSERT INTO pipeline.change_truncations AS t (source, truncated_at) VALUES (%(source)s, %(truncated_at)s)
ON CONFLICT (source) DO UPDATE SET truncated_at = greatest(t.truncated_at, excluded.truncated_at), decided_at = now();

-- name: keys_changed_since -- of rows that are there
SELECT key FROM pipeline.change_keys WHERE table_name = %(table)s AND NOT deleted AND committed_at >= %(truncated_at)s;

-- name: keep_other_rows -- as `keep_deleted_rows`, of all keys but these
INSERT INTO pipeline.deleted_rows (batch_id, source, table_name, row)
SELECT %(batch_id)s, %(source)s, %(table)s, to_jsonb(t) FROM {curated} AS t
WHERE NOT EXISTS (SELECT FROM unnest({arrays}) AS k ({names}) WHERE {same_key});

-- name: delete_other_rows
DELETE FROM {curated} AS t WHERE NOT EXISTS (SELECT FROM unnest({arrays}) AS k ({names}) WHERE {same_key});

-- name: forget_rows_before -- of the keys that lost their rows
UPDATE pipeline.change_keys SET deleted = true, since = '', stale = '{{}}'
WHERE table_name = %(table)s AND NOT deleted AND (committed_at IS NULL OR committed_at < %(truncated_at)s);

-- name: change_summary -- what each stream did, by shard
SELECT s.stream, s.shard, s.moved_at, coalesce(sum(b.records), 0)::bigint AS records,
       coalesce(sum(b.stored), 0)::bigint AS stored, coalesce(sum(b.duplicates), 0)::bigint AS duplicates,
       coalesce(sum(b.controls), 0)::bigint AS controls, coalesce(sum(b.malformed), 0)::bigint AS malformed
FROM pipeline.change_shards AS s LEFT JOIN pipeline.change_batches AS b USING (stream, shard)
GROUP BY s.stream, s.shard, s.moved_at ORDER BY s.stream, s.shard;

-- name: change_account_summary -- what became of the changes of each mapped table
SELECT source, sum(read)::bigint AS read, sum(inserted)::bigint AS inserted, sum(updated)::bigint AS updated,
       sum(deleted)::bigint AS deleted, sum(unchanged)::bigint AS unchanged, sum(skipped)::bigint AS skipped,
       sum(quarantined)::bigint AS quarantined, sum(held)::bigint AS held
FROM pipeline.change_accounts GROUP BY source ORDER BY source;
