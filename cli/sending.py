"""`sluice trigger webhook` and `sluice trigger api`: requests to the API, as senders and clients make them."""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from http import HTTPStatus
from pathlib import Path

import click

from chalicelib import secrets, settings
from chalicelib.api.callers import IDEMPOTENCY_KEY
from chalicelib.api.table import RUN
from chalicelib.errors import ConfigurationError, RequestRefused, SourceUnavailable
from chalicelib.triggers import Started
from chalicelib.webhooks import signature
from cli import fired
from cli.session import Session, connect

_SECONDS = 35  # API Gateway gives up after 29


@click.command()
@click.argument("source")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--delivery", help="The delivery's id; by default one of its own.")
@click.option("--timestamp", type=int, help="Seconds since 1970; by default now.")
def webhook(source, file, delivery, timestamp) -> None:
    """Sign FILE, one JSON object or an array of them, and send it to the webhook of SOURCE."""
    session = connect()
    accepted = secrets.of_webhook(source)
    if not accepted:
        name = f"{settings.WEBHOOK}{source}"
        stage = session.settings.stage
        raise ConfigurationError(
            f"the source {source} has no secret for webhooks",
            next_step=f'SLUICE_TOKENS=\'{{"{name}": "…"}}\' in the shell, also where the stack is started'
            if session.settings.is_local
            else f"sluice secret token {name} --stage {stage}",
        )
    body, delivery = file.read_bytes(), delivery or uuid.uuid4().hex
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    headers = {
        signature.TIMESTAMP: stamp,
        signature.DELIVERY: delivery,
        signature.SIGNATURE: signature.sign(accepted[0], stamp, delivery, body),
    }
    answer = _send(session, f"/webhooks/{source}", body, headers)
    click.echo(f"delivery {answer['delivery']}")


@click.command()
@click.argument("source")
@click.option("--from", "start", metavar="DAY", help="First day of the window, YYYY-MM-DD.")
@click.option("--to", "end", metavar="DAY", help="Last day of the window, YYYY-MM-DD.")
@click.option("--input", "given", metavar="WHAT", help="What the source takes.")
@click.option("--embed/--no-embed", default=None, help="Embed changed texts; by default where the source has text.")
@click.option("--key", help="The Idempotency-Key: the same again starts no other run.")
@fired.WAIT
@click.pass_context
def api(context, source, start, end, given, embed, key, wait) -> None:
    """Start a run of SOURCE by POST /runs; the bearer token is read from standard input, or asked for."""
    session = connect()
    token = click.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read().strip()
    if not token:
        raise ConfigurationError("no token was given", next_step=f"give it on standard input: {_token(session)}")
    wanted = {"source": source, "from": start, "to": end, "input": given, "embed": embed}
    body = json.dumps({name: value for name, value in wanted.items() if value is not None}).encode()
    headers = {"Authorization": f"Bearer {token}", **({IDEMPOTENCY_KEY: key} if key else {})}
    try:
        answer = _send(session, "/runs", body, headers)
    except RequestRefused as error:
        if error.where["status"] not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise
        # API Gateway says no more than this where it misses an API key
        lacks_key = error.message == HTTPStatus.FORBIDDEN.phrase
        next_step = "set SLUICE_API_KEY" if lacks_key else f"make a token with the scope {RUN!r}: {_token(session)}"
        raise RequestRefused(error.message, next_step=next_step, **error.where) from None
    fired.tell(context, session, Started(answer["run_id"], answer["execution"], answer["new"]), wait)


def _token(session: Session) -> str:
    stage = "" if session.settings.is_local else f"SLUICE_STAGE={session.settings.stage} "
    return f"{stage}sluice token create NAME --scope {RUN}"


def _send(session: Session, path: str, body: bytes, headers: dict[str, str]) -> dict:
    session.settings.require("api_url")
    headers = {"Content-Type": "application/json", **headers}
    if session.settings.api_key:
        headers["X-Api-Key"] = session.settings.api_key
    request = urllib.request.Request(session.settings.api_url + path, body, headers, method="POST")
    local = [urllib.request.ProxyHandler({})] if session.settings.is_local else []
    try:
        with urllib.request.build_opener(*local).open(request, timeout=_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _refused(error) from None
    except (OSError, http.client.HTTPException) as error:
        raise SourceUnavailable(f"{session.settings.api_url} does not answer: {error}") from None


def _refused(error: urllib.error.HTTPError) -> RequestRefused:
    """With what a problem document says, or API Gateway."""
    try:
        answer = json.load(error)
        told = answer.get("detail") or answer.get("message") or answer.get("Message")
    except (ValueError, AttributeError):
        told = None
    return RequestRefused(told or error.reason, status=error.code)
