-- Who may call the API.

CREATE TABLE pipeline.api_tokens (
    name          text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$'),
    sha256        bytea NOT NULL UNIQUE,          -- of the token, which nobody keeps but its owner
    scopes        text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'run', 'admin']),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,                    -- never, where it is NULL
    revoked_at    timestamptz,
    last_used_at  timestamptz                     -- to the minute
);
