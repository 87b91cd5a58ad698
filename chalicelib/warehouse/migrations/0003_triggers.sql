-- Objects of the inbox that no run could read. They stay where they are in S3.

CREATE TABLE pipeline.quarantined_objects (
    bucket    text NOT NULL,
    key       text COLLATE "C" NOT NULL,
    version   text NOT NULL,   -- its version's id, or its ETag in a bucket without versions
    source    text NOT NULL,   -- the folder of inbox/ that it is in
    bytes     bigint NOT NULL,
    reason    text NOT NULL,
    run_id    text,            -- of the run that could not read it; NULL where no run was started
    added_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bucket, key, version)
);

CREATE INDEX quarantined_objects_by_source ON pipeline.quarantined_objects (source, added_at DESC);
