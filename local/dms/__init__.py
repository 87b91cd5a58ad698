"""A stand-in for AWS DMS: a Postgres' changes by logical replication, in DMS's format, into a Kinesis stream."""
