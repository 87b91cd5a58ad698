"""What the code needs to know of its surroundings, read once.

Precedence, the first that has a value wins: an argument to `load`, an environment variable
`SLUICE_<NAME>` (on AWS from `.chalice/config.json`, per stage; on the laptop from the local
stack), the default below. A variable `SLUICE_…` that no setting knows is an error, so that a typo
cannot pass for a default. No other module reads the environment.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.errors import ConfigurationError

PREFIX = "SLUICE_"
LOCAL = "local"
LIVE = "live"  # as `sources_url`: the sources' own hosts

_TOKENS = '{"name": "token", …}'

# what the names of the webhooks' secrets begin with among the tokens
WEBHOOK = "webhook:"
SHORTEST_WEBHOOK_SECRET = 16

# for the laptop alone: on AWS anybody who may look at a function could read them
SECRET = frozenset(
    {"SLUICE_DATABASE_URL", "SLUICE_READER_DATABASE_URL", "SLUICE_TOKENS", "SLUICE_API_TOKEN", "SLUICE_API_KEY"}
)

# read by tools around the pipeline, not by the pipeline itself
TOOLING = frozenset({"SLUICE_HOME", "SLUICE_CALLS", "SLUICE_TASK"})


@dataclass(frozen=True)
class Settings:
    stage: str = LOCAL
    bucket: str = ""
    # libpq's; on AWS in a secret, named by the ARN below
    database_url: str = ""
    database_secret_arn: str = ""
    # a login that only reads, as which the API reads; empty: the pipeline's own, see warehouse/reader.py
    reader_database_url: str = ""
    # instead of the host in that secret: RDS Proxy's
    database_host: str = ""
    # the sources' tokens by name, one JSON object; on AWS in a secret, named by the ARN below
    tokens: str = ""
    tokens_secret_arn: str = ""
    topic_arn: str = ""
    dead_letter_url: str = ""
    # the queue that triggers come by, and the one that takes what no function can do anything with
    triggers_url: str = ""
    undelivered_url: str = ""
    state_machine_arn: str = ""
    # where the sources are: "live", or the base URL of a sample API that stands in for all of them
    sources_url: str = LIVE
    # base of the links in alerts; empty for the AWS consoles
    links_url: str = ""
    # the file that the local stack's functions log to; empty for CloudWatch
    lambda_log: str = ""
    # where requests to the API are sent; for clients, such as `sluice trigger`
    api_url: str = ""
    # as whom: a bearer token, of the dashboard
    api_token: str = ""
    # what clients send as X-Api-Key beside their token, to an API that asks for it
    api_key: str = ""
    api_keys: str = "off"  # on | off: whether routes ask for an API key, which a usage plan counts by
    # who may call the API beside tokens of ours: JWTs of an OpenID Connect issuer, see api/issuer.py
    oidc_issuer: str = ""
    oidc_audience: str = ""
    # where its keys are; empty: where its discovery document says
    oidc_jwks_url: str = ""
    # the claim that lists scopes, and what stands before ours in it, such as "sluice/"
    oidc_scope_claim: str = "scope"
    oidc_scope_prefix: str = ""
    # pages of which origins may call the API from a browser, parted by blanks
    cors_origins: str = ""
    embeddings: str = "bedrock"  # bedrock | minilm
    bedrock_model: str = "amazon.titan-embed-text-v2:0"
    bedrock_dimensions: int = 1024
    # bytes of raw data per chunk; 100,000 records of 160 bytes
    chunk_bytes: int = 16 * 1024 * 1024
    # lines of raw data per chunk: narrow rows take far more memory than bytes, 16 MB may hold two million of them
    chunk_rows: int = 100_000
    # the longest record that is accepted, in bytes; a longer one is quarantined or fails the run
    record_bytes: int = 1024 * 1024
    # what one partition may take of an HTTP source, all its requests together: decoded bytes, and seconds
    fetch_bytes: int = 5 * 1024**3
    fetch_seconds: int = 600
    fetch_concurrency: int = 4
    containers: str = "off"  # on | off: whether sources may have their work done by containers
    process_concurrency: int = 40
    texts_per_shard: int = 2000
    # of the change stream's files in the lake: parquet | json
    changes_format: str = "parquet"

    @property
    def is_local(self) -> bool:
        return self.stage == LOCAL

    @property
    def live(self) -> Settings:
        """These settings, but with the sources' own hosts."""
        return dataclasses.replace(self, sources_url=LIVE)

    def require(self, *names: str) -> None:
        """Raise ConfigurationError naming the settings among `names` that have no value.

        A database secret stands for the database's URL.
        """
        known = {"database_url"} if self.database_secret_arn else set()
        if missing := [PREFIX + n.upper() for n in names if n not in known and not getattr(self, n)]:
            raise ConfigurationError(
                f"not set: {', '.join(missing)}",
                stage=self.stage,
                next_step="on the laptop run `sluice up`; on AWS `sluice deploy` sets it in .chalice/config.json",
            )


def load(environ: Mapping[str, str] | None = None, **arguments) -> Settings:
    """Settings from `arguments`, `environ` (default: the process's) and defaults, in that order."""
    environ = os.environ if environ is None else environ
    fields = {f.name: f for f in dataclasses.fields(Settings)}
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in TOOLING and variable[len(PREFIX) :].lower() not in fields:
            raise ConfigurationError(
                f"unknown setting {variable}",
                next_step="known ones are " + ", ".join(PREFIX + n.upper() for n in sorted(fields)),
            )
    values = {}
    for name, field in fields.items():
        raw = arguments.get(name, environ.get(PREFIX + name.upper()))
        if raw is None:
            continue
        values[name] = _number(name, raw) if isinstance(field.default, int) else str(raw)
    if values.get("tokens"):
        wrong = [name for name, token in tokens_in(values["tokens"], "SLUICE_TOKENS").items() if type(token) is not str]
        if wrong:
            raise ConfigurationError(
                f"SLUICE_TOKENS has no text for {', '.join(sorted(wrong))}", next_step=f"write {_TOKENS} into it"
            )
        expect_webhook_secrets(tokens_in(values["tokens"], "SLUICE_TOKENS"), "SLUICE_TOKENS")
    return Settings(**values)


def tokens_in(text: str, where: str) -> dict:
    """The tokens by name; raises ConfigurationError, which never quotes `text`, where it is no JSON object."""
    try:
        tokens = json.loads(text)
    except (ValueError, RecursionError):
        tokens = None
    if not isinstance(tokens, dict):
        raise ConfigurationError(f"{where} holds no JSON object", next_step=f"write {_TOKENS} into it")
    return tokens


def expect_webhook_secrets(tokens: Mapping[str, str], where: str) -> None:
    """Raise ConfigurationError, which quotes none, where a webhook's secret is so short that it could be guessed."""
    if short := sorted(name for name, token in tokens.items() if name.startswith(WEBHOOK) and not _is_long(token)):
        raise ConfigurationError(
            f"{where} has a secret of less than {SHORTEST_WEBHOOK_SECRET} characters for {', '.join(short)}",
            next_step="take one that nobody can guess, e.g. of `openssl rand -hex 32`; several are parted by blanks",
        )


def _is_long(token: str) -> bool:
    return bool(token.strip()) and all(len(secret) >= SHORTEST_WEBHOOK_SECRET for secret in token.split())


def _number(name: str, raw) -> int:
    try:
        return int(raw)
    except ValueError:
        raise ConfigurationError(f"{PREFIX}{name.upper()} is {raw!r}, expected a whole number") from None


@dataclass(frozen=True)
class Runtime:
    """What Lambda's runtime says of this process; empty elsewhere.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
    """

    handler: str = ""  # e.g. "app.plan"
    initialization: str = ""  # on-demand, provisioned-concurrency or snap-start


def runtime(environ: Mapping[str, str] | None = None) -> Runtime:
    environ = os.environ if environ is None else environ
    return Runtime(environ.get("_HANDLER", ""), environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", ""))


def traced(environ: Mapping[str, str] | None = None) -> bool:
    """Whether X-Ray takes a trace of this invocation; Lambda says so anew with each, nobody else does.

    https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
    """
    environ = os.environ if environ is None else environ
    return "Sampled=1" in environ.get("_X_AMZN_TRACE_ID", "").split(";")


def task(environ: Mapping[str, str] | None = None) -> str:
    """What the state machine tells a container to do, as JSON text; empty elsewhere."""
    environ = os.environ if environ is None else environ
    return environ.get(PREFIX + "TASK", "")


@functools.cache
def current() -> Settings:
    """The process's settings, read once."""
    return load()
