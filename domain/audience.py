"""Whom a notification is for."""

from __future__ import annotations

from dataclasses import dataclass

from domain.ids import ConversationKey


@dataclass(frozen=True, kw_only=True)
class Everyone:
    """Every known conversation, or those of a channel."""

    channel_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """These conversations."""

    conversations: tuple[ConversationKey, ...]


Audience = Everyone | Listed
