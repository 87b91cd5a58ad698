-- name: lock -- one publisher at a time for a table, whatever the run
SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0));

-- name: count_staged
SELECT count(*) FROM {staging};

-- name: drop_superseded -- of rows with the same key the last in raw order stays; the others are duplicates
DELETE FROM {staging} AS s
USING (SELECT {key}, max(_seq) AS last FROM {staging} GROUP BY {key} HAVING count(*) > 1) AS d
WHERE {same_key} AND s._seq < d.last;

-- name: count_unchanged -- rows that the curated table has already, to the last value
SELECT count(*) FROM {staging} AS s JOIN {curated} AS t ON {same_key_curated}
WHERE t._fingerprint = s._fingerprint;

-- name: merge -- (action, rows): insert new keys, update those that differ, leave the rest alone
WITH merged AS (
    MERGE INTO {curated} AS t
    USING {staging} AS s
    ON {same_key_curated}
    WHEN MATCHED AND t._fingerprint <> s._fingerprint THEN
        UPDATE SET {assignments}_run_id = %(run_id)s, _raw = {raw}, _fingerprint = s._fingerprint, _loaded_at = now()
    WHEN NOT MATCHED THEN
        INSERT ({columns}, _run_id, _raw, _fingerprint, _loaded_at)
        VALUES ({values}, %(run_id)s, {raw}, s._fingerprint, now())
    RETURNING merge_action() AS action
)
SELECT action, count(*) FROM merged GROUP BY action;
