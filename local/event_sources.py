"""Everything that invokes a function by itself: the mappings of the template, and those that were deployed here.

The template's are read for the stage `local`; the others are those of moto's Lambda, as the API calls
leave them. Each has a reader of its own, which sleeps until something comes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from moto.awslambda.models import lambda_backends

from chalicelib.errors import ConfigurationError
from local import corrections_of_events, mappings
from local.declared import Declared
from local.mappings import Mapping
from local.queue_reader import QueueReader
from local.runtime import Result
from local.shard_reader import StreamReader

LOG = logging.getLogger("local.server")

# AWS begins with five pollers of a queue
CONCURRENCY = 5


class EventSources:
    """The readers of all mappings; `invoke(function, payload)` runs a function and may raise what Lambdas does."""

    def __init__(self, invoke: Callable[[str, bytes], Result], concurrency: int = CONCURRENCY):
        self._invoke, self._concurrency = invoke, concurrency
        self._lock = threading.RLock()
        self._own: list[QueueReader | StreamReader] = []
        self._deployed: dict[str, QueueReader | StreamReader] = {}
        self._closed = False

    def start(self, wanted: Iterable[Mapping]) -> None:
        """Read what these mappings read, until `close`."""
        with self._lock:
            self._own += map(self._reader, wanted)

    def follow_deployed(self) -> None:
        """From now on, read what mappings that are made through the API read."""
        corrections_of_events.on_changed_mappings(self._follow)
        self._follow()

    def close(self) -> None:
        """Invoke nothing more."""
        with self._lock:
            self._closed = True
            for reader in [*self._own, *self._deployed.values()]:
                reader.close()

    def _reader(self, mapping: Mapping) -> QueueReader | StreamReader:
        if mapping.service == "sqs":
            return QueueReader(mapping, self._invoke, self._concurrency)
        return StreamReader(mapping, self._invoke)

    def _follow(self) -> None:
        with self._lock:
            if self._closed:
                return
            wanted = dict(_deployed_mappings())
            for name, reader in list(self._deployed.items()):
                if wanted.get(name) != reader.mapping:
                    reader.close()
                    del self._deployed[name]
            for name, mapping in wanted.items():
                if name not in self._deployed:
                    self._deployed[name] = self._reader(mapping)


def of_template(declared: Declared) -> list[Mapping]:
    """The template's mappings, for the stage `local`."""
    found = (
        mappings.of_properties(name, properties)
        for name, properties in declared.of("AWS::Lambda::EventSourceMapping").items()
    )
    return [mapping for mapping in found if mapping]


def _deployed_mappings() -> Iterable[tuple[str, Mapping]]:
    for by_region in list(lambda_backends.values()):
        for backend in list(by_region.values()):
            for created in list(backend._event_source_mappings.values()):
                try:
                    mapping = mappings.of_moto(created)
                except ConfigurationError as error:
                    LOG.warning("a mapping of %s is not followed: %s", created.function_arn, error)
                    continue
                if mapping:
                    yield created.uuid, mapping
