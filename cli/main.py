"""`sluice`: thin commands over the pipeline."""

from __future__ import annotations

import sys
from http import HTTPStatus

import click

from chalicelib.errors import RequestRefused, SluiceError, TriggerConflict
from cli import (
    api,
    backfill,
    build,
    changes,
    cost,
    cursor,
    dashboard,
    demo,
    deploy,
    destroy,
    emails,
    graph,
    new,
    package,
    quarantine,
    records,
    run,
    runs,
    schema,
    search,
    secret,
    sending,
    stack,
    token,
    trigger,
    undelivered,
)

# exit statuses; click uses the second one too
FAILED, WRONG = 1, 2


class _Group(click.Group):
    """Says our own errors in one line instead of a traceback."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except SluiceError as error:
            click.echo(f"sluice: {type(error).__name__}: {error}", err=True)
            sys.exit(WRONG if _is_conflict(error) else FAILED)
        except KeyboardInterrupt:  # wherever it strikes: click would call it a failed command
            click.echo("Interrupted.", err=True)
            sys.exit(run.INTERRUPTED)
        except BrokenPipeError:  # whoever reads has seen enough, as `head` does: click ends quietly
            raise
        except OSError as error:  # a file that cannot be read or written
            click.echo(f"sluice: {error}", err=True)
            sys.exit(FAILED)


def _is_conflict(error: SluiceError) -> bool:
    """Whether the command gave something an id that stands for something else; the API answers 409."""
    refused = isinstance(error, RequestRefused) and error.where.get("status") == HTTPStatus.CONFLICT
    return refused or isinstance(error, TriggerConflict)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice")
def main() -> None:
    """A serverless data pipeline: fetch, transform, validate, load, publish or reject.

    \b
    Exit status: 0 done, 1 the command failed, 2 wrong usage,
    3 the data did not pass the quality gate, 4 the run failed, 130 stopped by Ctrl-C.
    """


for command in (
    stack.up,
    stack.down,
    stack.env,
    dashboard.dashboard,
    build.build,
    package.package,
    deploy.deploy,
    destroy.destroy,
    secret.secret,
    run.run,
    runs.runs,
    api.api,
    quarantine.quarantine,
    records.records,
    backfill.backfill,
    cursor.cursor,
    token.token,
    trigger.trigger,
    undelivered.undelivered,
    schema.schema,
    search.search,
    graph.graph,
    cost.cost,
    changes.changes,
    emails.emails,
    new.new,
    demo.demo,
):
    main.add_command(command)

for command in (sending.webhook, sending.api):
    trigger.trigger.add_command(command)
