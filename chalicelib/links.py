"""Where a person who gets an alert finds the report and the execution."""

from __future__ import annotations

from urllib.parse import quote

from chalicelib.settings import Settings

# the console's host by partition, the second field of an ARN
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


class Links:
    """Links into the AWS consoles, or below `settings.links_url` where that is set (the local stack)."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._base = settings.links_url.rstrip("/")

    def report(self, key: str) -> str:
        """The page of a report, by its key in the lake."""
        if self._base:
            return f"{self._base}/{quote(key)}"
        console, region = _console(self._settings.state_machine_arn)
        bucket = quote(self._settings.bucket)
        return f"https://{console}/s3/object/{bucket}?region={region}&prefix={quote(key, safe='')}"

    def execution(self, arn: str) -> str:
        """The graph of an execution, which is named after its run."""
        if self._base:
            return f"{self._base}/runs/{quote(arn.rsplit(':', 1)[-1])}/graph.svg"
        console, region = _console(arn)
        return f"https://{console}/states/home?region={region}#/v2/executions/details/{arn}"


def _console(arn: str) -> tuple[str, str]:
    """(host, region) of the console for whatever `arn` names."""
    fields = [*arn.split(":"), "", "", "", ""]
    partition, region = fields[1], fields[3]
    host = _CONSOLES.get(partition, _CONSOLES["aws"])
    return (f"{region}.{host}" if region else host), region
