"""What must not stand in an environment variable: the database's URL and the sources' tokens, in Secrets Manager.

The database's secret is a libpq URL, or the JSON object that RDS writes: `username`, `password`,
`host`, `port`, `dbname`
(https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html).
The tokens' secret is one JSON object of strings. A secret is fetched once per process; the
database's anew when the password was refused, since it may have been rotated.
"""

from __future__ import annotations

import functools
import json
import time
from urllib.parse import quote

from chalicelib import boto_errors
from chalicelib import settings as settings_module
from chalicelib.errors import ConfigurationError, SecretsUnavailable
from chalicelib.settings import Settings
from chalicelib.telemetry import logger

_TRANSIENT_CODES = frozenset({"InternalServiceError", "InternalServiceErrorException", "ThrottlingException"})

# a password never travels in the clear; RDS and RDS Proxy both speak TLS
_SSL_MODE = "require"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

# the token that is the address of the login as which the API reads
READER = "database:reader"
# a secret that was taken back may be used as long
RENEW_SECONDS = 300
_looked_up = float("-inf")


def database_url(settings: Settings | None = None) -> str:
    """The database's address as libpq takes it; raises ConfigurationError or SecretsUnavailable."""
    settings = settings or settings_module.current()
    settings.require("database_url")
    if settings.database_url:
        return settings.database_url
    arn = settings.database_secret_arn
    return as_url(_secret(arn), arn, settings.database_host)


def reader_database_url() -> str:
    """The address of the login as which the API reads: `SLUICE_READER_DATABASE_URL`, or the token READER.

    Empty where neither is set: it is the pipeline's own then. Raises ConfigurationError or SecretsUnavailable.
    """
    settings = settings_module.current()
    if settings.reader_database_url or not (settings.tokens or settings.tokens_secret_arn):
        return settings.reader_database_url
    value = _tokens(settings)[1].get(READER)
    return as_url(value, READER) if isinstance(value, str) else ""


def token(name: str) -> str:
    """A source's token by name, from `SLUICE_TOKENS` or the tokens' secret."""
    settings = settings_module.current()
    if not settings.tokens:
        settings.require("tokens_secret_arn")
    where, tokens = _tokens(settings)
    if not isinstance(tokens.get(name), str):
        add = (
            f'SLUICE_TOKENS=\'{{"{name}": "…"}}\''
            if settings.is_local
            else f"sluice secret token {name} --stage {settings.stage}"
        )
        raise ConfigurationError(f"{where} has no token {name!r}", next_step=add)
    return tokens[name]


def of_webhook(source: str) -> tuple[str, ...]:
    """The secrets with which senders may sign the source's webhooks, from the token `webhook:<source>`.

    Blanks part them, so that a new one is taken beside the old one while senders change over. They are
    looked up anew after RENEW_SECONDS. Empty where the source has none; a shorter one than
    SHORTEST_WEBHOOK_SECRET could be guessed, is not taken, and the log says so.
    """
    global _looked_up
    settings = settings_module.current()
    if not settings.tokens and not settings.tokens_secret_arn:
        return ()
    if time.monotonic() - _looked_up > RENEW_SECONDS:
        forget()
        _looked_up = time.monotonic()
    value = _tokens(settings)[1].get(f"{settings_module.WEBHOOK}{source}")
    if not isinstance(value, str):
        return ()
    accepted = tuple(s for s in value.split() if len(s) >= settings_module.SHORTEST_WEBHOOK_SECRET)
    if len(accepted) < len(value.split()):
        _tell_of_short(source)
    return accepted


@functools.cache
def _tell_of_short(source: str) -> None:
    """Once per process: senders whom nobody knows would fill the log."""
    logger.error(
        "a webhook's secret is too short and is not taken",
        source=source,
        shortest=settings_module.SHORTEST_WEBHOOK_SECRET,
    )


def _tokens(settings: Settings) -> tuple[str, dict]:
    """Where the tokens are kept, and the tokens by name."""
    where, text = "SLUICE_TOKENS", settings.tokens
    if not text:
        where = f"the secret {settings.tokens_secret_arn}"
        text = _secret(settings.tokens_secret_arn)
    return where, settings_module.tokens_in(text, where)


def forget() -> None:
    """Fetch secrets anew when they are asked for next."""
    _secret.cache_clear()


def as_url(secret: str, name: str, host: str = "") -> str:
    """A database secret's text as libpq takes it, by TLS unless it says otherwise or stays on the machine.

    `host`, where given, goes before the secret's own. Raises ConfigurationError, which never quotes the
    secret, for what is no address.
    """
    text = secret.strip()
    url = _from_json(text, name, host) if text.startswith("{") else _with_host(text, host)
    parts = _parts(url)
    if not _is_host(parts.get("host", "")) or not parts.get("port", "5432").isdecimal():
        raise ConfigurationError(
            f"the secret {name} holds neither a URL of Postgres nor RDS's JSON",
            next_step="write postgresql://user:password@host:5432/database into it, %25 for a % in the password, "
            "%40 for an @ and %2F for a /",
        )
    if "sslmode" in parts or parts["host"].startswith("/") or parts["host"] in _LOOPBACK:
        return url
    return f"{url}{'&' if '?' in url else '?'}sslmode={_SSL_MODE}"


def _from_json(text: str, name: str, host: str) -> str:
    try:
        fields = json.loads(text)
    except ValueError:
        raise ConfigurationError(
            f"the secret {name} begins like JSON and is none", next_step="write RDS's JSON into it, or a URL"
        ) from None
    fields = {**fields, "host": host or fields.get("host")}
    if missing := [field for field in ("username", "password", "host") if not fields.get(field)]:
        raise ConfigurationError(
            f"the secret {name} has no {', '.join(missing)}",
            next_step="write RDS's JSON into it, or a URL postgresql://user:password@host:5432/database",
        )
    user, password = quote(str(fields["username"]), safe=""), quote(str(fields["password"]), safe="")
    port, database = fields.get("port") or 5432, quote(str(fields.get("dbname") or "postgres"), safe="")
    return f"postgresql://{user}:{password}@{fields['host']}:{port}/{database}"


def _with_host(url: str, host: str) -> str:
    if not host:
        return url
    start, found, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, address = authority.rpartition("@")
    port = address.rpartition(":")[2] if ":" in address else ""
    return f"{start}{found}{credentials}{at}{host}{':' if port else ''}{port}{slash}{path}"


def _parts(url: str) -> dict[str, str]:
    """What libpq reads in a URL; {} for what is none. Its own errors quote the text, so they go no further."""
    import psycopg2
    from psycopg2.extensions import parse_dsn

    if not url.startswith(("postgresql://", "postgres://")):
        return {}
    try:
        return parse_dsn(url)
    except psycopg2.ProgrammingError:
        return {}


def _is_host(name: str) -> bool:
    """A name, an address or a socket's folder; a password with an @ in it would leave its rest in here."""
    return bool(name) and "@" not in name and not any(character.isspace() for character in name)


@functools.cache
def _secret(arn: str) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 4, "mode": "standard"})
    try:
        return boto3.client("secretsmanager", config=config).get_secret_value(SecretId=arn)["SecretString"]
    except (ClientError, BotoCoreError) as error:
        if boto_errors.may_pass(error, _TRANSIENT_CODES):
            raise SecretsUnavailable(f"the secret {arn} could not be read: {error}") from error
        raise ConfigurationError(
            f"the secret {arn} cannot be read: {error}",
            next_step="check that it exists in this region, and that the function's policy names it",
        ) from error
    except KeyError:
        raise ConfigurationError(f"the secret {arn} is binary, expected text") from None
