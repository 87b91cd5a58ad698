-- name: get
SELECT position FROM pipeline.cursors WHERE source = %(source)s;

-- name: all -- of every source
SELECT source, position, moved_at FROM pipeline.cursors;

-- name: hold -- whoever else moves it waits until this transaction ends
SELECT position FROM pipeline.cursors WHERE source = %(source)s FOR UPDATE;

-- name: advance -- forwards only, and from another day than before; no row: it stays
INSERT INTO pipeline.cursors (source, position, run_id) VALUES (%(source)s, %(position)s, %(run_id)s)
ON CONFLICT (source) DO UPDATE SET position = excluded.position, run_id = excluded.run_id, moved_at = now()
WHERE cursors.position < excluded.position;

-- name: put -- anywhere
INSERT INTO pipeline.cursors (source, position, run_id) VALUES (%(source)s, %(position)s, NULL)
ON CONFLICT (source) DO UPDATE SET position = excluded.position, run_id = NULL, moved_at = now();

-- name: record_move
INSERT INTO pipeline.cursor_moves (source, before, after, run_id, moved_by, why)
VALUES (%(source)s, %(before)s, %(after)s, %(run_id)s, %(moved_by)s, %(why)s);

-- name: moves -- newest first
SELECT before, after, run_id, moved_by, why, moved_at FROM pipeline.cursor_moves
WHERE source = %(source)s ORDER BY id DESC LIMIT %(limit)s;
