"""`sluice api openapi`, `sluice api docs`: what the API is, without asking it."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def api() -> None:
    """The HTTP API: its description, without a stack."""


@api.command()
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--address", default="", metavar="URL", help="Of the API, as the document names it.")
def openapi(path, address) -> None:
    """Write the OpenAPI document, as GET /openapi.json answers it, to FILE or here."""
    from chalicelib.api import openapi as described

    _write(path, json.dumps(described.document(address), indent=2) + "\n")


@api.command()
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--address", default="", metavar="URL", help="Of the API, as the page names it.")
def docs(path, address) -> None:
    """Write the page that GET /docs answers to FILE."""
    from chalicelib.api import openapi as described
    from chalicelib.api import page

    _write(path, page.html(described.document(address)))


def _write(path: Path | None, text: str) -> None:
    if path is None:
        click.echo(text, nl=False)
    else:
        path.write_text(text, encoding="utf-8")
        click.echo(str(path))
