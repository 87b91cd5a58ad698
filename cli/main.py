"""`sluice`: thin commands over the pipeline."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import click

from chalicelib.errors import RequestRefused, SluiceError, TriggerConflict

# by the module that has it
_MODULES = {
    **dict.fromkeys(("up", "down", "env"), "stack"),
    **{
        name: name
        for name in (
            "dashboard",
            "build",
            "package",
            "deploy",
            "destroy",
            "secret",
            "run",
            "runs",
            "api",
            "quarantine",
            "redrive",
            "records",
            "backfill",
            "cursor",
            "token",
            "trigger",
            "undelivered",
            "schema",
            "upkeep",
            "search",
            "graph",
            "cost",
            "changes",
            "emails",
            "new",
            "demo",
        )
    },
}

# exit statuses; click uses the second one too, a shell the third for what Ctrl-C ended
FAILED, WRONG, INTERRUPTED = 1, 2, 130


class _Commands(Mapping):
    """The commands by name, each imported when it is asked for: all together take 0.7 s, one 0.4."""

    def __getitem__(self, name: str) -> click.Command:
        return getattr(importlib.import_module(f"cli.{_MODULES[name]}"), name)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


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
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # whoever reads has seen enough, as `head` does: click ends quietly
            raise
        except OSError as error:  # a file that cannot be read or written
            click.echo(f"sluice: {error}", err=True)
            sys.exit(FAILED)


def _is_conflict(error: SluiceError) -> bool:
    """Whether the command gave something an id that stands for something else; the API answers 409."""
    refused = isinstance(error, RequestRefused) and error.where.get("status") == HTTPStatus.CONFLICT
    return refused or isinstance(error, TriggerConflict)


@click.group(cls=_Group, commands=_Commands(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice")
def main() -> None:
    """A serverless data pipeline: fetch, transform, validate, load, publish or reject.

    \b
    Exit status: 0 done, 1 the command failed, 2 wrong usage,
    3 the data did not pass the quality gate, 4 the run failed, 130 stopped by Ctrl-C.
    """
