"""How `sluice deploy` reads, makes, changes and deletes each type of resource: one class per type.

`KINDS` has them by CloudFormation's name of the type. Properties have CloudFormation's own shape
throughout, so that what is there can be held against the template.
"""

from deploy.kinds import (
    alarms,
    apis,
    identity,
    keys,
    lambdas,
    logs,
    machines,
    mappings,
    messages,
    schedules,
    secrets,
    serving,
    storage,
    streams,
)
from deploy.kinds.base import Aws, Kind

KINDS: dict[str, Kind] = {
    kind.type: kind()
    for module in (
        apis,
        serving,
        storage,
        keys,
        messages,
        streams,
        identity,
        logs,
        lambdas,
        machines,
        mappings,
        alarms,
        schedules,
        secrets,
    )
    for kind in module.KINDS
}

__all__ = ["KINDS", "Aws", "Kind"]
