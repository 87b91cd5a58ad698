-- name: add_object -- again with each run that cannot read it
INSERT INTO pipeline.quarantined_objects (bucket, key, version, source, bytes, reason, run_id, email)
VALUES (%(bucket)s, %(key)s, %(version)s, %(source)s, %(bytes)s, %(reason)s, %(run_id)s, %(email)s)
ON CONFLICT (bucket, key, version) DO UPDATE SET reason = excluded.reason, run_id = excluded.run_id
RETURNING email;

-- name: take_turns -- with whoever records an object of the same folder at this moment, until the end of the transaction
SELECT pg_advisory_xact_lock(hashtextextended(%(source)s, 0));

-- name: is_told_of -- whether an email tells of another object of the same folder, of the last hour
SELECT EXISTS (
    SELECT FROM pipeline.quarantined_objects
    WHERE source = %(source)s AND email IS NOT NULL AND added_at > now() - interval '1 hour'
      AND (bucket, key, version) <> (%(bucket)s, %(key)s, %(version)s)
);

-- name: told_object
UPDATE pipeline.quarantined_objects SET email = 'sent'
WHERE bucket = %(bucket)s AND key = %(key)s AND version = %(version)s AND email = 'owed';

-- name: list_objects -- newest first, with the last run that published an object of that address since
SELECT q.bucket, q.key, q.version, q.source, q.bytes, q.reason, q.run_id, q.added_at,
       (SELECT r.run_id FROM pipeline.runs AS r
        WHERE r.input ->> 'input' = 's3://' || q.bucket || '/' || q.key AND r.published_at > q.added_at
        ORDER BY r.published_at DESC LIMIT 1) AS loaded_by
FROM pipeline.quarantined_objects AS q
WHERE %(source)s::text IS NULL OR q.source = %(source)s
ORDER BY q.added_at DESC, q.key LIMIT %(limit)s;
