"""Change data capture: DMS's change records from a Kinesis stream into the lake and into curated tables."""
