"""Great Expectations at work: batches, configurations, outcomes.

Importing it takes 2 to 6 seconds and about 200 MB, so it is imported inside functions, when the
first suite is checked. Nothing here decides anything: what an outcome means is said in `rows`,
`dataset` and `verdict`.

Where its time goes was measured with seven expectations of which two fail in 0.5% of the rows, in
microseconds per row, at 100,000 and 50,000 rows a chunk (Python 3.11, pandas 2.3.3, one core):

    batch.validate(suite, "COMPLETE")                                   2.05   2.55
    the same without hashing the frame, which it does twice             1.45   1.85
    ... one frame per set of columns                                    1.33   1.80
    ... BOOLEAN_ONLY first, COMPLETE for those that failed              1.20   1.53
    ... BASIC first / SUMMARY first                                     1.33   1.77 / 1.70  2.29

With 12 columns in the frame, of which five are judged, the third line stays at 1.3 while the second
takes 3.5: every metric filters nulls by copying the whole frame. The hash is avoided by handing the
frame to the execution engine itself, without a data source around it. BOOLEAN_ONLY first would save
another tenth, but says nothing about nulls and evaluated rows, which the counts need. About 45 ms a chunk is
fixed cost (the graph of metrics, built anew for each batch), of which `prepared` leaves 13: chunks should be large.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib import collector
from chalicelib.quality import arguments, catalogue

if TYPE_CHECKING:
    import pandas as pd

    from chalicelib.quality.suite import Item, Suite


@dataclass(frozen=True)
class Outcome:
    """What Great Expectations found for one expectation; `error` is set where it could not evaluate it."""

    success: bool
    result: dict
    error: str | None = None


@functools.cache
def context():
    """The process's data context: in memory, silent, no telemetry, no files."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with collector.importing():
        import great_expectations as gx

        made = gx.get_context(mode="ephemeral")
        made.variables.progress_bars = {"globally": False}
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return made


def on_frame(frame: pd.DataFrame):
    """An execution engine that judges `frame`; its index is what unexpected rows are named by."""
    context()
    from great_expectations.execution_engine import PandasExecutionEngine

    return PandasExecutionEngine(batch_data_dict={"chunk": frame})


def on_table(connections, schema: str, table: str):
    """An execution engine that judges a table; `connections` is an SQLAlchemy engine.

    No data source is made: it would open an engine of its own, which cannot be closed.
    """
    context()
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData

    made = SqlAlchemyExecutionEngine(engine=connections, create_temp_table=False)
    batch = SqlAlchemyBatchData(made, schema_name=schema, table_name=table, create_temp_table=False)
    made.load_batch_data("staging", batch)
    return made


def evaluate(execution_engine, suite: Suite, items: Sequence[Item], result_format: dict) -> dict[str, Outcome]:
    """The outcome of each item, by id. Great Expectations returns them in an order of its own."""
    from great_expectations.validator.validator import Validator

    validator = Validator(execution_engine=execution_engine, data_context=context())
    with quiet():
        results = validator.graph_validate(
            configurations=[configuration_of_run(item, suite) for item in items],
            runtime_configuration={"result_format": dict(result_format)},
        )
    return {
        result.expectation_config.id: Outcome(bool(result.success), result.result or {}, _error(result.exception_info))
        for result in results
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def configuration(item: Item, suite: Suite):
    """An item as Great Expectations wants it.

    Bounds of time columns become full times, because "2024-01-01" would be read as a date, which
    does not compare with times.
    """
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    kwargs = dict(item.kwargs)
    if item.entry.families == catalogue.ORDERED and item.columns:
        family = suite.family(item.columns[0])
        for name in ("min_value", "max_value"):
            if kwargs.get(name) is not None and family in catalogue.TEMPORAL:
                kwargs[name] = arguments.moment(kwargs[name], family).isoformat()
    return ExpectationConfiguration(type=item.type, kwargs=kwargs, severity=item.severity, id=item.id)


def configuration_of_run(item: Item, suite: Suite):
    """Row-wise items are judged over the whole run, not chunk by chunk, so `mostly` plays no part in a chunk."""
    made = configuration(item, suite)
    if item.entry.scope == catalogue.ROW:
        made.kwargs.pop("mostly", None)
    return made


def _error(info: dict | None) -> str | None:
    """The exception in a result: one flat object when nothing happened, one per metric when something did."""
    if not info:
        return None
    parts = [info] if "raised_exception" in info else [part for part in info.values() if isinstance(part, dict)]
    # the first line is the message; SQL, parameters and schemas follow, sometimes by the page
    raised = [str(part.get("exception_message")).strip() for part in parts if part.get("raised_exception")]
    messages = [message.splitlines()[0][:300] if message else "no message" for message in raised]
    return "; ".join(dict.fromkeys(messages)) or None
