-- What runs are compared with: numbers of earlier ones, and examples beside results.

-- One row per judged run of a source whose suite declares drift; runs with another `scope` or a very different `extent`
-- are no comparison, and only published ones count.
CREATE TABLE pipeline.run_statistics (
    run_id       text PRIMARY KEY REFERENCES pipeline.runs ON DELETE CASCADE,
    table_name   text NOT NULL,
    scope        text NOT NULL,              -- what kind of run: cursor, window, whole, inbox, input …
    extent       double precision NOT NULL,  -- days or raw objects asked for; 1 where neither says anything
    rows         bigint NOT NULL,            -- staged
    columns      jsonb NOT NULL,             -- name -> {"nulls": rows, "mean": …, "deviation": …, "newest": …}
    measured_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX run_statistics_by_table ON pipeline.run_statistics (table_name, scope, measured_at DESC);

-- of results that come from a history: [{"value": …, "raw": …, "line": …}, …], the most extreme first
ALTER TABLE pipeline.quality_results ADD COLUMN examples jsonb;
