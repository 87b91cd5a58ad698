-- name: add_object -- again with each run that cannot read it
INSERT INTO pipeline.quarantined_objects (bucket, key, version, source, bytes, reason, run_id)
VALUES (%(bucket)s, %(key)s, %(version)s, %(source)s, %(bytes)s, %(reason)s, %(run_id)s)
ON CONFLICT (bucket, key, version) DO UPDATE SET reason = excluded.reason, run_id = excluded.run_id
RETURNING xmax = 0;

-- name: take_turns -- with whoever records an object of the same folder at this moment, until the end of the transaction
SELECT pg_advisory_xact_lock(hashtextextended(%(source)s, 0));

-- name: was_told -- whether an email told of an object of the same folder in the last hour, for which no run was started
SELECT EXISTS (
    SELECT FROM pipeline.quarantined_objects
    WHERE source = %(source)s AND run_id IS NULL AND added_at > now() - interval '1 hour'
      AND (bucket, key, version) <> (%(bucket)s, %(key)s, %(version)s)
);

-- name: list_objects -- newest first, with the last run that published an object of that address since
SELECT q.bucket, q.key, q.version, q.source, q.bytes, q.reason, q.run_id, q.added_at,
       (SELECT r.run_id FROM pipeline.runs AS r
        WHERE r.input ->> 'input' = 's3://' || q.bucket || '/' || q.key AND r.published_at > q.added_at
        ORDER BY r.published_at DESC LIMIT 1) AS loaded_by
FROM pipeline.quarantined_objects AS q
WHERE %(source)s::text IS NULL OR q.source = %(source)s
ORDER BY q.added_at DESC, q.key LIMIT %(limit)s;
