"""`GET /runs/{run_id}/graph`: the execution of a run as a picture."""

from __future__ import annotations

from chalicelib.api import run, table
from chalicelib.api.answering import Request, Text
from chalicelib.errors import NotFound
from chalicelib.executions import chunks
from chalicelib.graph import svg
from chalicelib.warehouse import ledger, reader


def drawn(request: Request) -> Text:
    """Raises NotFound for a run whose execution is not known."""
    run_id = request.parameters.run_id
    execution = run.execution_of(run_id)
    if execution is None:
        raise NotFound(
            f"Step Functions knows no execution {run_id!r}",
            next_step="GET /runs lists the runs; Step Functions forgets them 90 days after their end",
        )
    with reader.transaction() as connection, connection.cursor() as cursor:
        [counts] = ledger.rows(cursor, "chunk_counts", run_id=run_id)
    return Text(svg(execution.definition, chunks.with_failed(execution, counts["loaded"])), table.SVG)
