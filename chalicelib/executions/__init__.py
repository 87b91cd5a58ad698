"""What happened in one execution of a state machine, state by state.

Read from the Step Functions API alone, so that AWS and the local stack are read alike. What a
`DISTRIBUTED` Map does is known by counts: its children are executions of their own, whose
histories are not read. So the states inside it are succeeded, running or failed as all its
children are, and those that only an error or a choice leads to stay `not_run`.
"""

from chalicelib.executions.history import Transition
from chalicelib.executions.model import Children, Execution, State, from_json, to_json
from chalicelib.executions.reader import Reader, arn, described, read
from chalicelib.executions.summary import with_failed_children

__all__ = [
    "Children",
    "Execution",
    "Reader",
    "State",
    "Transition",
    "arn",
    "described",
    "from_json",
    "read",
    "to_json",
    "with_failed_children",
]
