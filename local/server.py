"""The local stack's server: `python -m local.server FOLDER [--schedules]`, started by `local.stack`, ends with SIGTERM.

One process serves AWS' APIs (moto), the sample API and the pages that alerts link to; its children
are Postgres and the Lambda workers. Starting overlaps what it can: Postgres starts and the workers
import while this process imports moto. What happens is logged to standard error, in one line each.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from chalicelib import collector
from local import environment
from local.containers import Containers
from local.home import ALREADY_RUNNING, REPOSITORY, Home
from local.postgres import Postgres
from local.provision import Resources, provision
from local.runtime import Runtime

if TYPE_CHECKING:  # they import moto, and Chalice
    from local.declared import Declared
    from local.deployed import Deployed, Lambdas
    from local.event_sources import EventSources
    from local.schedules import Schedules

LOG = logging.getLogger("local.server")

OPEN_FILES = 16384  # a connection per request under way, and the files being read
LAMBDA_LOG_BYTES = 20 * 2**20
WATCH_SECONDS = 0.2
RESTART_SECONDS = 2  # between two starts of a Postgres that cannot start
SAVE_SECONDS = 3  # between two looks at what is new in S3; writing down 10,000 objects takes 0.1 s


def main(home: Home, schedules: bool = False) -> int:
    home.create()
    lock = home.lock.open("a+")
    if not _acquire(lock):
        return ALREADY_RUNNING
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    LOG.setLevel(logging.INFO)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server = Server(home, schedules)
    try:
        with collector.importing():  # of moto: looking for garbage took 0.5 s of 2
            server.start()
        while not stopping.wait(WATCH_SECONDS):
            server.mend()
            server.save()
            server.rest()
    except Exception:
        LOG.exception("the stack did not start, or cannot go on")
        return 1
    finally:
        server.stop()
    return 0


class Server:
    """Everything the stack runs. `start` from the main thread: Postgres lives as long as the thread that starts it.

    With `schedules`, those of the template fire when they are due; without, only when the clock is moved.
    """

    def __init__(self, home: Home, schedules: bool = False):
        self._home, self._ticking = home, schedules
        self._postgres = Postgres(home.postgres, home.postgres_log)
        self._runtime: Runtime | None = None
        self._containers: Containers | None = None
        self._deployed: Deployed | None = None
        self._lambdas: Lambdas | None = None
        self._event_sources: EventSources | None = None
        self._schedules: Schedules | None = None
        self._http: list = []
        self._resources: Resources | None = None
        self._mended = 0.0
        self._saved = (0.0, 0)  # when, and after how many bodies
        self._saving = threading.Lock()
        self._sources_url = ""
        self._clients: dict[str, str] = {}
        self._restored = False

    def start(self) -> None:
        home, started = self._home, time.monotonic()
        previous = json.loads(home.description.read_text()) if home.description.exists() else {}
        home.description.unlink(missing_ok=True)
        self._postgres.start(wait=False)

        # moto takes a second to import; the workers' imports run meanwhile, if they start first
        from local.http import listen, url

        aws, sources = listen(previous.get("endpoint")), listen(previous.get("sources_url"))
        api = listen(previous.get("environment", {}).get("SLUICE_API_URL"))
        resources = self._resources = Resources(url(aws))
        self._sources_url = url(sources)
        clients = self._clients = environment.clients(
            resources, home, self._postgres.database_url, self._sources_url, url(api)
        )
        if home.lambda_log.exists() and home.lambda_log.stat().st_size > LAMBDA_LOG_BYTES:
            home.lambda_log.replace(home.lambda_log.with_suffix(".log.1"))
        count = os.cpu_count() or 1
        around = environment.workers(environment.inherited(home), clients, count)
        self._runtime = Runtime(REPOSITORY, around, home.lambda_log, count)
        self._containers = Containers(REPOSITORY, around, home.container_log)
        _allow_open_files()
        self._serve(aws, sources, api)
        from local.declared import Declared

        declared = Declared(resources)
        provision(resources, declared)
        LOG.info("AWS is up at %s (%.1f s)", resources.endpoint, time.monotonic() - started)
        self._restore()
        self._postgres.wait()
        _prepare_database(self._postgres.database_url)
        LOG.info("Postgres is up at %s (%.1f s)", self._postgres.database_url, time.monotonic() - started)
        self._follow_events(declared)
        self._describe()
        LOG.info("the stack is up (%.1f s)", time.monotonic() - started)

    def mend(self) -> None:
        """Start Postgres again where it died, as RDS would; its clients' retries bridge the gap.

        Workers that die are the runtime's to replace.
        """
        # who deletes a running stack's home folder wants no new one
        if self._postgres.alive or not self._home.postgres.exists():
            return
        if time.monotonic() - self._mended < RESTART_SECONDS:
            return
        self._mended = time.monotonic()
        LOG.warning("Postgres died and is started again; runs that were loading rows fail or go on by themselves")
        self._postgres.start(wait=False)
        self._describe()

    def save(self, at_once: bool = False) -> None:
        """Write down what is new in S3, or `at_once` what there is: raw objects and reports should outlive a kill."""
        from local import objects

        if not self._restored:  # what is not in the index is deleted when it is restored
            return
        with self._saving:
            saved_at, saved = self._saved
            now, made = time.monotonic(), objects.Body.made
            if not at_once and (made == saved or now - saved_at < SAVE_SECONDS):
                return
            self._saved = (now, made)
            try:
                objects.save(self._resources.bucket, self._home.objects)
            except (KeyError, OSError):  # the bucket was deleted, the disk is full
                LOG.exception("what S3 holds could not be written down")
                self._saved = (now, saved)

    def rest(self) -> None:
        """Let go of what deployed functions have not used for a while."""
        self._deployed.drop_idle()

    def stop(self) -> None:
        """End everything; the objects in S3 and the tables stay in the home folder."""
        for starting_runs in (self._schedules, self._event_sources):
            if starting_runs:
                starting_runs.close()
        for server in self._http:
            server.shutdown()
        if self._runtime:
            self._runtime.close()
        if self._containers:
            self._containers.close()
        if self._deployed:
            self._deployed.close()
        self.save(at_once=True)
        self._postgres.stop()
        LOG.info("the stack is down")

    def _serve(self, aws, sources, api) -> None:
        os.environ["MOTO_PORT"] = str(aws.getsockname()[1])
        from moto.server import DomainDispatcherApplication, create_backend_app

        from local import (
            corrections,
            corrections_of_chalice,
            corrections_of_containers,
            corrections_of_deploying,
            corrections_of_events,
            corrections_of_webhooks,
            deployed,
            faults,
            objects,
            sample_api,
            shortcuts,
            templates,
            titan,
        )
        from local.api_gateway import ApiGateway, OwnApi
        from local.gateway import Gateway
        from local.http import serve
        from local.pages import Pages

        network = environment.network(self._clients, self._runtime.workers)
        self._deployed = deployed.Deployed(self._home.deployed, network, self._home.lambda_log)
        armed = faults.Faults()
        armed.kill = self._runtime.kill_busy_with
        lambdas = self._lambdas = deployed.Lambdas(self._runtime, self._deployed, armed)
        corrections.apply()
        corrections_of_deploying.apply()
        corrections_of_chalice.apply()
        corrections_of_events.apply()
        corrections_of_webhooks.apply()
        corrections_of_containers.apply(self._containers, armed)
        titan.answer_as_titan()
        templates.apply()
        deployed.instead_of_docker(self._deployed)
        shortcuts.apply(lambdas)
        objects.keep_in(self._home.objects)
        objects.keep_before_an_end(lambda: self.save(at_once=True))
        pages = Pages(self._resources)
        gateway = Gateway(
            DomainDispatcherApplication(create_backend_app),
            lambdas,
            {"report.html": pages.report, "graph.svg": pages.graph},
            pages.emails,
            lambda: self._schedules,
            api_gateway := ApiGateway(lambdas.invoke),
            armed,
        )
        own_api = OwnApi(api_gateway, lambdas.invoke)
        self._http = [serve(aws, gateway), serve(sources, sample_api.app), serve(api, own_api)]

    def _follow_events(self, declared: Declared) -> None:
        """From now on functions are invoked with what queues and streams hold, and schedules fire."""
        from local import event_sources, schedules

        self._event_sources = event_sources.EventSources(self._lambdas.invoke, max(2, self._runtime.workers))
        self._event_sources.start(event_sources.of_template(declared))
        self._event_sources.follow_deployed()
        group = schedules.provision(self._resources, declared)
        self._schedules = schedules.Schedules(self._resources.endpoint, group, ticking=self._ticking)

    def _restore(self) -> None:
        from local import objects

        count = objects.restore(self._resources.bucket, self._home.objects)
        self._restored = True
        if count:
            LOG.info("S3 has its %d objects again", count)

    def _describe(self) -> None:
        """Write what `local.stack.StackInfo` reads; at once, so that nobody reads half of it."""
        home = self._home
        description = {
            "endpoint": self._resources.endpoint,
            "database_url": self._postgres.database_url,
            "sources_url": self._sources_url,
            "pid": os.getpid(),
            "postgres_pid": self._postgres.pid,
            "logs": str(home.logs),
            "environment": self._clients,
            "schedules": self._ticking,
        }
        unfinished = home.description.with_suffix(".new")
        unfinished.write_text(json.dumps(description, indent=2))
        unfinished.replace(home.description)


def _acquire(lock: TextIO) -> bool:
    """Take the lock and write our pid into it; whoever looks if it is taken holds it for an instant."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            return True
    return False


def _prepare_database(database_url: str) -> None:
    from chalicelib.warehouse import migrations
    from local import lost_runs

    migrations.apply(database_url)
    if count := lost_runs.close(database_url):
        LOG.warning(
            "%d runs were under way when the stack ended and failed: see `sluice runs list --status failed`", count
        )


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    # not sys.exit: moto's objects would delete their files one by one
    status = main(Home(Path(sys.argv[1])), "--schedules" in sys.argv[2:])
    logging.shutdown()
    os._exit(status)
