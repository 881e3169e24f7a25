"""The yardsticks: the SDK's sample loops and a plain HTTP client; and how fast this machine is by them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from benchmarks.effort import Effort
from benchmarks.people import Connection, connected
from benchmarks.processes import channel_process, outcome
from benchmarks.tables import Target, number, ratio

SDK_SECONDS = 4.0
"""So long a run of the SDK takes, about; it sends one by one, so its rate does not depend on how many there are."""
_SDK_RATES = {"cloud": 130.0, "classic": 900.0}
"""Messages a second without latency, to choose how many are sent."""
SET_FOR = {"cloud": 6.7, "limit": 0.06}
"""Milliseconds of processor time a message that the yardsticks took, without latency, on the machine for which the
absolute targets were set."""
LIMIT_AT_ONCE = 50
_PATH = "/v3/conversations/a%3Aperson-000000/activities"
_BODY = (
    '{"type":"message","serviceUrl":"http://127.0.0.1:3979","channelId":"msteams","from":{"id":"28:bot","name":"Aside"},'
    '"conversation":{"conversationType":"personal","id":"a:person-000000","tenantId":"tenant-1"},"recipient":{"id":'
    '"29:person-000000","name":"Person 000000","aadObjectId":"aad-000000"},"text":"The build is green again.",'
    '"inputHint":"acceptingInput","locale":"en-US"}'
)


async def reset(channel: Connection, latency: float) -> None:
    """Have the channel forget what it has counted, and take so many seconds for an answer from now on."""
    await channel.ask(f"/bench/reset?latency={latency}")


async def sdk_loop(adapter: str, channel_url: str, control: Connection, latency: float) -> Effort:
    """``adapter``: ``cloud`` for CloudAdapter, ``classic`` for BotFrameworkAdapter."""
    many = max(20, round(SDK_SECONDS / (1 / _SDK_RATES[adapter] + latency * 1.1)))
    await reset(control, latency)
    answer = await outcome(("-m", "benchmarks.sdk_broadcast", adapter, channel_url, str(many)))
    return Effort(many=many, seconds=answer["seconds"], processor=answer["processor"])


async def limit(
    channel_url: str, control: Connection, latency: float, many: int, at_once: int, path: str = _PATH, body: str = _BODY
) -> Effort:
    await reset(control, latency)
    arguments = (channel_url, str(many), str(at_once), path, body)
    answer = await outcome(("-m", "benchmarks.raw_broadcast", *arguments))
    return Effort(many=many, seconds=answer["seconds"], processor=answer["processor"])


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many times the processor time this machine takes, by each yardstick, of that for which targets were set."""

    cloud: float
    limit: float

    @cached_property
    def factor(self) -> float:
        """The geometric mean: a user's turn has of both, much Python and many sockets."""
        return math.sqrt(self.cloud * self.limit)

    def told(self) -> str:
        return (
            f"Scaled by {number(self.factor)}: this machine takes {ratio(self.cloud)} the processor time of the one for"
            f" which absolute targets were set by the loop on CloudAdapter ({SET_FOR['cloud']} ms a message there), and"
            f" {ratio(self.limit)} by plain aiohttp ({SET_FOR['limit']} ms); the geometric mean counts."
        )

    def scaled(self, target: Target) -> Target:
        return target.scaled(self.factor)


_known: list[Pace] = []


async def pace(rounds: int) -> Pace:
    """Measured when it is first asked for; afterwards what was found then."""
    if not _known:
        async with channel_process() as channel, connected(channel.url) as control:
            limits = [await limit(channel.url, control, 0.0, 3000, LIMIT_AT_ONCE) for _ in range(rounds)]
            cloud = await sdk_loop("cloud", channel.url, control, 0.0)
        limited = median(effort.milliseconds for effort in limits)
        _known.append(Pace(cloud=cloud.milliseconds / SET_FOR["cloud"], limit=limited / SET_FOR["limit"]))
    return _known[0]
