"""Every error that Sluice raises.

A class docstring is the default message. Two families matter to the state machine: what may
pass by itself (`TransientError`, retried with backoff) and what will not (`TerminalError`, which
goes straight to Catch, the alert and a `Fail` state). Lambda reports an exception by its class
name, so `statemachine/pipeline.asl.json` names the transient leaves; a test keeps the two alike.
"""

# next steps that name no command to start a run again: a replay's is another than that of all other runs, and they are
# raised where nobody knows which it is. The first, where what was left of a chunk is gone or not as it was written
CHUNK_ANEW = (
    "start the run again, as `sluice runs show` says: that makes the chunk anew; "
    "`sluice run --from-scratch` all of them"
)
# and where what was staged is not there
STAGE_ANEW = (
    "start the run again, as `sluice runs show` says; staging is lost when Postgres crashes in the middle of a run"
)


class SluiceError(Exception):
    """Sluice could not do what was asked."""

    def __init__(self, message: str | None = None, *, quote: object = None, next_step: str | None = None, **where):
        """`where` says what the error is about, e.g. `run_id=`, `source=`, `chunk=`, `column=`.

        `quote` is what data, a server or another library said, which may hold values of records: it
        is left out where these are personal. `next_step` is the one thing the reader should do about it.
        """
        self.quote = None if quote is None else str(quote)
        self.message = message or (type(self).__doc__ or "").splitlines()[0]
        self.where = {name: value for name, value in where.items() if value is not None}
        self.next_step = next_step
        super().__init__(self._text())

    def _text(self) -> str:
        text = self.message.rstrip()
        if self.quote:
            text += f": {self.quote}"
        if self.where:
            text += " (" + ", ".join(f"{name}={value}" for name, value in self.where.items()) + ")"
        if self.next_step:
            text += f" Next: {self.next_step}"
        return text

    def __reduce__(self):
        # exceptions cross process borders on the local stack; keyword arguments need help to
        return (_rebuild, (type(self), self.message, self.quote, self.next_step, self.where))

    def without_quote(self) -> "SluiceError":
        return _rebuild(type(self), self.message, None, self.next_step, self.where)


def _rebuild(kind: type, message: str, quote: str | None, next_step: str | None, where: dict) -> SluiceError:
    return kind(message, quote=quote, next_step=next_step, **where)


# --- may pass by itself: the state machine retries these ------------------------------------


class TransientError(SluiceError):
    """Something outside is unavailable for the moment."""


class SourceUnavailable(TransientError):
    """The source did not answer, asked us to wait, or failed on its side."""


class LakeUnavailable(TransientError):
    """S3 did not answer or asked us to slow down."""


class WarehouseUnavailable(TransientError):
    """Postgres is out of reach, restarting, or broke the transaction off."""


class EmbeddingsUnavailable(TransientError):
    """The embedding model is throttled or out of reach."""


class SecretsUnavailable(TransientError):
    """Secrets Manager did not answer or asked us to slow down."""


# --- will not pass by itself: stop and tell --------------------------------------------------


class TerminalError(SluiceError):
    """Trying again would not help."""


class ConfigurationError(TerminalError):
    """A setting is missing, unknown or contradicts another."""


class ContractError(TerminalError):
    """A stage was called with something other than its contract."""


class UnknownSource(TerminalError):
    """No source of that name is registered."""


class DeclarationError(TerminalError):
    """A source's declaration cannot be used."""


class SourceError(TerminalError):
    """The source answered with something that cannot be used."""


class RawError(TerminalError):
    """A raw object cannot be cut into records."""


class TransformError(TerminalError):
    """The source's transform raised, or returned something other than a frame of its columns."""


class SuiteError(TerminalError):
    """An expectation suite cannot be used."""


class GateError(TerminalError):
    """An expectation could not be evaluated; that is no verdict on the data."""


class ChangeError(TerminalError):
    """A record of a change stream cannot be used."""


class SchemaMismatch(TerminalError):
    """The curated table and the source's declaration do not agree."""


class SchemaRefused(TerminalError):
    """The records have another schema than the source's contract takes."""


class ChunksFailed(TerminalError):
    """Some chunks of the run were not processed."""


class AccountError(TerminalError):
    """The row account does not balance; nothing was published."""


class EmbeddingsError(TerminalError):
    """The embedding model refused the text or answered something unusable."""


class RequestRefused(TerminalError):
    """The API refused the request."""


class WithheldError(TerminalError):
    """Something unexpected was raised; its text is withheld, since it may quote personal data."""


class TriggerConflict(TerminalError):
    """A trigger has the name of another one, or failed too often."""


class NotFound(TerminalError):
    """There is no such thing."""


class DeploymentError(TerminalError):
    """A deployment broke off half way."""
