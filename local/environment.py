"""The environment variables of the stack: those its own processes start with, and those that `sluice env` prints."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chalicelib.settings import LOCAL
from local.functions import ACCESS_KEY, REGION
from local.home import Home

if TYPE_CHECKING:  # every command needs this module, few what makes the resources
    from local.provision import Resources

# credentials, profiles and endpoints of the user's shell must not reach the stack's processes; its CA bundle may
_KEPT_OF_AWS = {"AWS_CA_BUNDLE"}


def inherited(home: Home, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the stack's processes take over from the caller's environment.

    Bytecode is written, whatever PYTHONDONTWRITEBYTECODE says: without it every start compiles
    great-expectations anew (7.6 s instead of 2.3).
    """
    environ = os.environ if environ is None else environ
    kept = {
        name: value
        for name, value in environ.items()
        if (not name.startswith("AWS_") or name in _KEPT_OF_AWS) and name != "PYTHONDONTWRITEBYTECODE"
    }
    if not os.access(sysconfig.get_path("purelib"), os.W_OK):
        kept.setdefault("PYTHONPYCACHEPREFIX", str(home.path / "pycache"))
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, [kept.get(name), "127.0.0.1", "localhost"]))
    kept["GX_ANALYTICS_ENABLED"] = "false"
    # a Lambda below 1,770 MB has less than one core; threads would not survive the fork, and spin where others work
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        kept.setdefault(name, "1")
    return kept


def clients(resources: Resources, home: Home, database_url: str, sources_url: str, api_url: str) -> dict[str, str]:
    """What any client needs to talk to the stack, the pipeline's own code included."""
    return {
        "DATABASE_URL": database_url,
        "AWS_ENDPOINT_URL": resources.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        **ACCESS_KEY,
        "SLUICE_STAGE": LOCAL,
        "SLUICE_BUCKET": resources.bucket,
        "SLUICE_DATABASE_URL": database_url,
        "SLUICE_TOPIC_ARN": resources.topic_arn,
        "SLUICE_DEAD_LETTER_URL": resources.dead_letter_url,
        "SLUICE_TRIGGERS_URL": resources.queue_url("triggers"),
        "SLUICE_UNDELIVERED_URL": resources.queue_url("undelivered"),
        "SLUICE_STATE_MACHINE_ARN": resources.state_machine_arn,
        "SLUICE_SOURCES_URL": sources_url,
        "SLUICE_LINKS_URL": resources.endpoint,
        "SLUICE_API_URL": api_url,
        "SLUICE_LAMBDA_LOG": str(home.lambda_log),
        "SLUICE_EMBEDDINGS": "minilm",
        "SLUICE_CONTAINERS": "on",
    }


def network(clients: Mapping[str, str], count: int) -> dict[str, str]:
    """What a deployed function finds around it: AWS, and the sources. Its own variables go before these."""
    of_the_stack = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION", *ACCESS_KEY, "SLUICE_SOURCES_URL")
    return {
        **{name: clients[name] for name in of_the_stack},
        "SLUICE_PROCESS_CONCURRENCY": str(count + 2),  # as for the workers
        "NO_PROXY": "127.0.0.1,localhost",
    }


def workers(inherited: Mapping[str, str], clients: Mapping[str, str], count: int) -> dict[str, str]:
    """The whole environment of `count` Lambda workers."""
    return {
        # as many children of the Map as keep the workers busy: a queued one's TimeoutSeconds runs already
        "SLUICE_PROCESS_CONCURRENCY": str(count + 2),
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # macOS
        # checksums are there to find what a network breaks
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        **inherited,
        **clients,
    }
