"""How clients of AWS are configured that a Lambda must not spend its time waiting for."""

from __future__ import annotations

from botocore.config import Config

# of services that answer at once, or are asked again
QUICK = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 4, "mode": "standard"})
