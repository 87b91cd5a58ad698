"""What starts runs: a trigger, the name of its execution, and the one function that starts it."""

from chalicelib.triggers.starting import Started, stands, start
from chalicelib.triggers.trigger import Trigger

__all__ = ["Started", "Trigger", "stands", "start"]
