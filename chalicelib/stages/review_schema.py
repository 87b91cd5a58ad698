"""ReviewSchema: what the chunks saw besides the columns, and what the source's contract makes of it."""

from __future__ import annotations

from chalicelib import settings as settings_module
from chalicelib import sources
from chalicelib.anomalies import declaration as anomaly_declarations
from chalicelib.columns import Column
from chalicelib.contract_reading import read_contract, write_contract
from chalicelib.contracts import ReviewSchemaRequest, ReviewSchemaResult
from chalicelib.lake import Lake, keys
from chalicelib.quality import suite as suites
from chalicelib.schema import FREEZE, observing, review
from chalicelib.schema.model import Observation
from chalicelib.sources.base import Source
from chalicelib.warehouse import connection, ledger


def review_schema(request: ReviewSchemaRequest) -> ReviewSchemaResult:
    """Widens the run's columns once; what does not fit them even then stays in quarantine.

    A retry finds the chunks behind the revision that the first attempt wrote, and answers what that
    did. Where chunks are missing nothing is widened: QualityGate says which. Raises SchemaRefused.
    """
    settings = settings_module.current()
    settings.require("bucket", "database_url")
    lake = Lake(settings.bucket)
    source = sources.for_run(request.source, request.run_id, lake)
    schema = source.schema
    with connection.transaction() as open_connection, open_connection.cursor() as cursor:
        chunks = ledger.chunks(cursor, request.run_id)
    results = [chunk.results["schema"] for chunk in chunks if chunk.records]
    seen = observing.total(read_contract(Observation, result["observed"] or {}) for result in results)
    if source.schema_contract == FREEZE:
        review.refuse(seen, schema.columns, request.run_id, source.name)
    elif any(result["revision"] < schema.revision for result in results):
        return ReviewSchemaResult(again=True, revision=schema.revision, changes=len(schema.changes))
    elif len(chunks) == request.chunks and schema.revision == 0:
        wider = review.evolved(
            schema, seen, lambda columns: _can_be_judged(source, columns), request.run_id, source.name
        )
        if wider is not schema:
            lake.put_json(keys.schema(request.run_id), write_contract(wider))
            return ReviewSchemaResult(again=True, revision=wider.revision, changes=len(wider.changes))
    return ReviewSchemaResult(again=False, revision=schema.revision, changes=len(schema.changes))


def _can_be_judged(source: Source, columns: tuple[Column, ...]) -> bool:
    return suites.judges(source, columns) and not anomaly_declarations.problems(source.anomalies, columns)
