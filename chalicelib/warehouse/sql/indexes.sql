-- name: columns
SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped;

-- name: find -- whether a B-tree of all rows is sorted by these columns first, as pages are; INCLUDE adds nothing to that
SELECT EXISTS (
    SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
    WHERE i.indrelid = to_regclass(%(table)s) AND i.indisvalid AND i.indislive AND i.indpred IS NULL AND m.amname = 'btree'
      AND %(count)s <= i.indnkeyatts
      AND (SELECT array_agg(a.attname::text ORDER BY k.place)
           FROM unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[]) WITH ORDINALITY
               AS k (attnum, collation_id, class, place)
           JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND a.attcollation = k.collation_id
           JOIN pg_opclass AS o ON o.oid = k.class AND o.opcdefault
           WHERE k.place <= %(count)s) = %(columns)s::text[]
      -- all up, or all down with nulls first, which read backwards is the same
      AND (SELECT count(DISTINCT k.direction) = 1 AND min(k.direction) IN (0, 3)
           FROM unnest(i.indoption::int2[]) WITH ORDINALITY AS k (direction, place) WHERE k.place <= %(count)s)
);

-- name: named -- whether the index of this name is the table's, and whether it is whole; no row: the name is free
SELECT coalesce(i.indrelid = to_regclass(%(table)s), false), coalesce(i.indisvalid, true)
FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid WHERE c.oid = to_regclass(%(index)s);

-- name: create
CREATE INDEX {index} ON {curated} ({columns});

-- name: create_aside -- nobody who writes waits; what remains of one that failed is of no use and must be dropped
CREATE INDEX CONCURRENTLY {index} ON {curated} ({columns});

-- name: drop_aside
DROP INDEX CONCURRENTLY IF EXISTS {index};
