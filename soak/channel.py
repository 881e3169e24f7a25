"""A channel in every mood: it throttles, fails, hangs, and accepts without saying so."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from aiohttp import web

from testkit.channel import FakeChannel, Mood, Shown

MOODS: dict[str, tuple[float, Mood]] = {
    "throttles": (2, Mood(429, headers={"Retry-After": "1"})),
    "throttles without saying how long": (1, Mood(429)),
    "fails": (3, Mood(500)),
    "accepts, then fails": (3, Mood(504, accept=True)),
    "knows nobody": (1, Mood(404)),
    "hangs up": (2, Mood(0)),
    "accepts, then hangs up": (2, Mood(0, accept=True)),
    "hangs": (0.5, Mood(0)),
    "accepts, then hangs": (0.5, Mood(0, accept=True)),
}
"""How often, compared with each other. What hangs does so for a while, and then hangs up."""


class MoodyChannel(FakeChannel):
    """``share`` of the sends meet a mood; what is hung on hangs for ``hang`` seconds at most."""

    def __init__(self, random: Random, *, share: float, hang: float) -> None:
        super().__init__()
        self.share = share
        self.kinds: Counter[str] = Counter()
        """How often it was in which mood."""
        self.in_doubt: Counter[tuple[str, str]] = Counter()
        """Activities, by conversation and text, that were accepted without the sender being told."""
        self._random = random
        self._hang = hang
        self._last: dict[str, str] = {}

    def heal(self) -> None:
        self.share = 0.0

    async def _send(self, request: web.Request) -> web.StreamResponse:
        conversation = request.match_info["conversation"]
        body = await request.json()
        name, mood = self._next(conversation)
        self.sequence += 1
        activity_id = f"act-{self.sequence}"
        if mood.shows:
            self.shown[conversation].append(Shown(activity_id, body))
            if name:
                self.in_doubt[conversation, str(body.get("text"))] += 1
        if "hangs" in name.split():
            await asyncio.sleep(self._random.uniform(0.1, self._hang) if self.share else 0.1)
            if request.transport is None:  # the sender has lost its patience
                return web.Response()
        return self._answer(request, mood, activity_id)

    def _next(self, conversation: str) -> tuple[str, Mood]:
        name = ""
        if self._random.random() < self.share:
            (name,) = self._random.choices(list(MOODS), [weight for weight, _ in MOODS.values()])
            if name == "knows nobody" and self._last.get(conversation):
                name = "fails"  # a few of these in a row would mean that the conversation is gone
        self._last[conversation] = name
        self.kinds[f"channel {name}"] += bool(name)
        return name, MOODS[name][1] if name else Mood()
