"""Where the local stack keeps its things. Everything in the home folder can be deleted when the stack is down."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from chalicelib.errors import ConfigurationError

ALREADY_RUNNING = 3  # exit status of a server that finds another one at its home folder

REPOSITORY = Path(__file__).resolve().parent.parent


def home() -> Path:
    """The home folder: SLUICE_HOME, or `.sluice` in the repository."""
    return Path(os.environ.get("SLUICE_HOME") or REPOSITORY / ".sluice").expanduser().resolve()


@dataclass(frozen=True)
class Home:
    """The home folder's layout."""

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the stack's server for as long as it lives."""
        return self.path / "lock"

    @property
    def description(self) -> Path:
        """What `StackInfo` is read from; written when the stack is up."""
        return self.path / "stack.json"

    @property
    def dashboard_token(self) -> Path:
        """What the dashboard asks the API with, from one start to the next."""
        return self.path / "dashboard-token"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def server_log(self) -> Path:
        return self.logs / "server.log"

    @property
    def container_log(self) -> Path:
        return self.logs / "container.log"

    @property
    def lambda_log(self) -> Path:
        return self.logs / "lambda.log"

    @property
    def postgres_log(self) -> Path:
        return self.logs / "postgres.log"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def objects(self) -> Path:
        """The bodies of the objects in S3, and what is known of them."""
        return self.path / "s3"

    @property
    def deployed(self) -> Path:
        """Packages and layers of what was deployed to the stack, unpacked."""
        return self.path / "deployed"

    def create(self) -> None:
        """Make the folders; raises ConfigurationError where another account made them."""
        for folder in (self.path, self.logs, self.objects):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise ConfigurationError(
                    f"{folder} belongs to another account",
                    next_step="delete it as that account, or set SLUICE_HOME to a folder of yours",
                )
