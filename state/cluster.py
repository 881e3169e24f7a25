"""Commands on a cluster: each goes to the node that has its key's slot, wherever that is by now.

A cluster moves slots between nodes while it is used. A node that does not have a slot any more says where it went,
for good (``MOVED``) or for keys that have gone ahead (``ASK``); a command that was turned away is followed by those
that came after it in its slot, so that they keep their order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.exceptions import AskError, MovedError, RedisClusterException, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from state.replicas import Parts, Replicas
from state.wire import CLOSED, connections

SLOTS = 16384
REDIRECTIONS = 16
"""How often a command is sent on before it fails."""
TRY_AGAIN_SECONDS = 0.05
"""Between attempts of a command whose keys are just being moved one by one."""

_REDIRECTED = (MovedError, AskError, TryAgainError)
_BROKEN = (RedisConnectionError, RedisTimeoutError, OSError, *CLOSED)


def key_of(parts: Parts) -> str | bytes | None:
    """The key by which a command finds its node; all keys of a command are in one slot."""
    position = 3 if parts[0] in ("EVALSHA", "EVAL") else 1
    return str(parts[position]) if len(parts) > position else None


class Cluster:
    """A wire to many servers. ``redis`` retries nothing by itself: who calls :meth:`exchange` does."""

    def __init__(self, redis: RedisCluster, replicas: Replicas) -> None:
        self._redis = redis
        self._replicas = replicas

    def slot(self, parts: Parts) -> int:
        """The slot of a command's key, -1 for a command without one."""
        key = key_of(parts)
        return -1 if key is None else self._redis.keyslot(key)

    def node(self, parts: Parts) -> str:
        """The name of the node that a command would be sent to; empty as long as the cluster is not known."""
        try:
            return self._node(parts).name
        except RedisConnectionError:
            return ""

    def _node(self, parts: Parts) -> ClusterNode:
        slot = self.slot(parts)
        try:
            return self._redis.nodes_manager.slots_cache[max(slot, 0)][0]
        except (KeyError, IndexError):
            raise RedisConnectionError("no node of the cluster has this slot") from None

    async def exchange(self, commands: Sequence[Parts]) -> list[Any]:
        """Run commands, those of one slot in their order; answers, or the errors of the nodes, in the order given."""
        results = await self._sent([(parts, None) for parts in commands])
        behind: set[int] = set()
        for position, parts in enumerate(commands):
            slot = self.slot(parts)
            if isinstance(results[position], _REDIRECTED) or slot in behind:
                behind.add(slot)
                results[position] = await self._follow(parts, results[position])
        return results

    async def _follow(self, parts: Parts, result: Any) -> Any:
        """Send a command, or one that came after such a one, where the cluster says that it belongs."""
        for _ in range(REDIRECTIONS):
            if isinstance(result, MovedError):
                await self._redis.nodes_manager.move_slot(result)
            elif isinstance(result, TryAgainError):
                await asyncio.sleep(TRY_AGAIN_SECONDS)
            if isinstance(result, AskError) and not isinstance(result, MovedError):
                there = self._redis.get_node(host=result.host, port=result.port)
                if there is None:
                    await self._look_around(None)
                    there = self._redis.get_node(host=result.host, port=result.port)
                _, result = await self._sent([(("ASKING",), there), (parts, there)])
            else:
                (result,) = await self._sent([(parts, None)])
            if not isinstance(result, _REDIRECTED):
                break
        return result

    async def _sent(self, commands: Sequence[tuple[Parts, ClusterNode | None]]) -> list[Any]:
        """One round trip to each of the nodes concerned. Raises what a broken connection raises."""
        node: ClusterNode | None = None
        try:
            with connections():
                await self._redis.initialize()
                pipeline = self._redis.pipeline()
                of: defaultdict[ClusterNode, list[int]] = defaultdict(list)
                for position, (parts, named) in enumerate(commands):
                    node = named or self._node(parts)
                    of[node].append(position)
                    pipeline.execute_command(*parts, target_nodes=node)
                waiting = self._wait_behind(pipeline, [parts for parts, _ in commands], of)
                results: list[Any] = await pipeline.execute(raise_on_error=False, allow_redirections=False)
                broken = next((result for result in results if isinstance(result, _BROKEN)), None)
                if broken is not None:
                    raise broken
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error
        except _BROKEN:
            await self._look_around(node)
            raise
        for positions, told in zip(waiting, results[len(commands) :], strict=True):
            mine = [commands[position][0] for position in positions]
            judged = self._replicas.judged(mine, [results[position] for position in positions], told)
            for position, result in zip(positions, judged, strict=True):
                results[position] = result
        return results[: len(commands)]

    def _wait_behind(
        self, pipeline: ClusterPipeline, commands: Sequence[Parts], of: Mapping[ClusterNode, list[int]]
    ) -> list[list[int]]:
        """Have each node that is written to wait for its replicas; which commands each of these waits is for. A node's
        commands leave over one connection, in their order."""
        waiting = []
        for node, positions in of.items():
            wait = self._replicas.asked_after([commands[position] for position in positions])
            if wait is not None:
                pipeline.execute_command(*wait, target_nodes=node)
                waiting.append(positions)
        return waiting

    async def _look_around(self, failed: ClusterNode | None) -> None:
        """Learn anew which node has what: another may have taken the place of the one that failed."""
        with contextlib.suppress(RedisClusterException, RedisError, OSError, *CLOSED):
            await self._redis.nodes_manager.initialize(last_failed_node_name=failed.name if failed else None)

    async def hang_up(self) -> None:
        """Nothing to do: the cluster is looked at anew whenever a node is not what it was."""

    async def one_key_each(self, name: str) -> list[str]:
        """``name`` with something added, so that each primary has the slot of one of them."""
        try:
            with connections():
                await self._redis.initialize()
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error
        wanted = {node.name for node in self._redis.get_primaries()}
        found: dict[str, str] = {}
        for number in range(SLOTS):
            key = f"{name}:{number}"
            found.setdefault(self.node(("EXISTS", key)), key)
            if wanted <= found.keys():
                break
        return list(found.values())
