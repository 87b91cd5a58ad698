-- name: add_token -- no row: the name is taken
INSERT INTO pipeline.api_tokens (name, sha256, scopes, expires_at)
VALUES (%(name)s, %(sha256)s, %(scopes)s, %(expires_at)s)
ON CONFLICT (name) DO NOTHING
RETURNING name;

-- name: list_tokens -- newest first
SELECT name, scopes, created_at, expires_at, revoked_at, last_used_at FROM pipeline.api_tokens
ORDER BY created_at DESC, name;

-- name: revoke_token -- no row: there is none of that name; the time stays that of the first revocation
UPDATE pipeline.api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE name = %(name)s RETURNING name;

-- name: find_token -- no row: nobody's, expired or revoked
SELECT name, scopes, coalesce(last_used_at < now() - interval '1 minute', true) AS note_use
FROM pipeline.api_tokens
WHERE sha256 = %(sha256)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: note_use
UPDATE pipeline.api_tokens SET last_used_at = now() WHERE name = %(name)s;
