"""The one place that spells keys and lifetimes.

All keys of one conversation carry the conversation as their hash tag, so that one script may touch
them together on a cluster as well. Lifetimes are in seconds.
"""

from __future__ import annotations

import functools

from domain.ids import ConversationKey, DeliveryId, JobId, NotificationId, UserKey

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ACTIVITY_IDS_TTL = 10 * MINUTE
"""How long a conversation remembers the activity ids it has processed (the channel resends within seconds)."""
ACTIVITY_IDS_KEPT = 1000
"""How many of them at most: the newest."""
MAIL_IDS_TTL = HOUR
"""How long a mailbox remembers what was put into it, so that a fan-out that is repeated puts nothing twice."""
MAIL_IDS_KEPT = 2000
"""How much of it at most: the newest."""
SENT_IDS_TTL = 30 * DAY
"""How long an activity that was sent can be updated or deleted by the id that its turn was given."""
SENT_IDS_KEPT = 200
"""Of how many activities a conversation remembers that."""
NOTIFICATION_TTL = 31 * DAY
"""At least; a notification that expires later is kept until a day after that (``state.notifications``)."""
IDEMPOTENCY_TTL = DAY
JOB_TTL = 7 * DAY
"""How long a finished job can be looked up."""
JOBS_KEPT = 200
"""Jobs of a conversation; of more than these the oldest that are finished are forgotten earlier."""
UNKNOWN_CONVERSATION_TTL = DAY
"""How long a lock may linger on a conversation from which no turn was ever committed."""

PERMANENT = (
    "aside:{*}:c",  # a conversation's state, lock and record: until the user is forgotten
    "aside:{*}:mail",  # deleted by the store when empty
    "aside:{*}:out",  # deleted by the store when empty
    "aside:{*}:u",  # a user's state
    "aside:conversations",
    "aside:channels",
    "aside:threads",
    "aside:unreachable",
    "aside:by-user:*",
    "aside:by-aad:*",
    "aside:work:*",  # deleted by the store when empty
    "aside:notifications",
    "aside:dead-letters",
)
"""Patterns of the keys that have no lifetime, each with its reason; every other key expires."""


@functools.lru_cache(maxsize=4096)
def _tag(name: str) -> str:
    """``name`` as a hash tag: braces inside would end it early."""
    return "{" + name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") + "}"


def conversation(key: ConversationKey) -> str:
    """Hash: ``state``, ``version``, ``record``, lock (``lock``, ``until``, ``fence``), the outbox's ``blocked`` and
    ``doubt``, ``early`` (``state.doubts``), on a cluster ``confirm`` and ``refused`` (``state.prepared``), and what
    the API shows of it."""
    return f"aside:{_tag(key)}:c"


def mailbox(key: ConversationKey) -> str:
    """Hash: delivery id to delivery."""
    return f"aside:{_tag(key)}:mail"


def mail_ids(key: ConversationKey) -> str:
    """Sorted set: ids of what was put into the mailbox lately, by time in milliseconds."""
    return f"aside:{_tag(key)}:mailed"


def outbox(key: ConversationKey) -> str:
    """List: effects, oldest first."""
    return f"aside:{_tag(key)}:out"


def activity_ids(key: ConversationKey) -> str:
    """Sorted set: ids of the activities processed lately, by time in milliseconds."""
    return f"aside:{_tag(key)}:acts"


def answer(key: ConversationKey, activity_id: str) -> str:
    """String: the answer to an invoke, for as long as its activity id is remembered."""
    return f"aside:{_tag(key)}:answer:{activity_id}"


def sent_ids(key: ConversationKey) -> str:
    """Hash: the id a turn was given for an activity to the id the channel gave it; and, behind ``=``, the way back."""
    return f"aside:{_tag(key)}:ids"


def sent_order(key: ConversationKey) -> str:
    """List: the keys of ``sent_ids``, newest first."""
    return f"aside:{_tag(key)}:idorder"


def job(key: ConversationKey, job_id: JobId) -> str:
    """Hash: a job's record."""
    return f"aside:{_tag(key)}:job:{job_id}"


def jobs(key: ConversationKey) -> str:
    """Sorted set: job ids by number."""
    return f"aside:{_tag(key)}:jobs"


def user_jobs(key: UserKey) -> str:
    """Sorted set: ``conversation key``, newline, ``job id``, of a user's jobs, by the time of submission; those that
    have ended leave it when somebody looks."""
    return f"aside:{_tag(key)}:ujobs"


def user(key: UserKey) -> str:
    """Hash: ``state``, ``version``; of who was heard in a group ``aad``, the directory id; on a cluster ``pending``,
    ``pending_in``, ``pending_state``."""
    return f"aside:{_tag(key)}:u"


def pin(key: UserKey) -> str:
    """String: the token of a turn that others who change the user's state wait for (``state.pins``); for a lease."""
    return f"aside:{_tag(key)}:pin"


def unreadable(key: ConversationKey | UserKey) -> str:
    """String: a state that could not be read and was put aside."""
    return f"aside:{_tag(key)}:unreadable"


UNREADABLE_TTL = 30 * DAY


def rate(key: ConversationKey) -> str:
    """Hash: how far each send limit of a conversation is used up."""
    return f"aside:{_tag(key)}:rate"


def tenant_rate(tenant: str) -> str:
    return f"aside:rate:{_tag(tenant)}"


RATE_TTL = MINUTE


def conversations() -> str:
    """Sorted set, all scores 0: known conversations in lexical order, without those of channels of Teams."""
    return "aside:conversations"


def channels() -> str:
    """Likewise: channels of Teams, each once; also those of which only threads are known."""
    return "aside:channels"


def threads() -> str:
    """Likewise: known conversations of channels, each thread for itself."""
    return "aside:threads"


def unreachable() -> str:
    """Likewise: those where the bot cannot speak, without threads."""
    return "aside:unreachable"


def by_user(user_id: str) -> str:
    """Set: conversations of a user id."""
    return f"aside:by-user:{user_id}"


def by_aad_object(aad_object_id: str) -> str:
    return f"aside:by-aad:{aad_object_id}"


def notification(notification_id: NotificationId) -> str:
    """Hash: ``body``, ``fanout`` (progress), ``counts:*``."""
    return f"aside:{_tag(notification_id)}:n"


def recipients(notification_id: NotificationId) -> str:
    """List: conversation keys that the fan-out has still to serve, for audiences that were listed."""
    return f"aside:{_tag(notification_id)}:to"


def deliveries(notification_id: NotificationId) -> str:
    """Hash: recipient number to the delivery's last status."""
    return f"aside:{_tag(notification_id)}:d"


def results(notification_id: NotificationId) -> str:
    """Hash: recipient number to what its user has answered, as JSON."""
    return f"aside:{_tag(notification_id)}:r"


def notifications() -> str:
    """Sorted set: notification ids by the time they were accepted, in milliseconds."""
    return "aside:notifications"


def idempotency(digest: str) -> str:
    return f"aside:idempotency:{digest}"


def nothing() -> str:
    """A list that is never there: ``LPUSHX`` to it writes nothing, but is refused where writes are."""
    return "aside:nothing"


def probe(beside: str) -> str:
    """String, for a moment: written where another key is, to see whether replicas get it."""
    tag = beside[beside.find("{") : beside.find("}") + 1] or f"{{{beside}}}"
    return f"aside:{tag}:probe"


PROBE_TTL = 1


def sweep() -> str:
    """Hash: until when nobody else looks for what the store has lost, and how far that has come."""
    return "aside:sweep"


SWEEP_TTL = DAY


def work(queue: str) -> str:
    """Sorted set: what is to be done, by the time in milliseconds at which it is due."""
    return f"aside:work:{_tag(queue)}"


def bell(queue: str) -> str:
    """List of at most one element: rung when something became due."""
    return f"aside:bell:{_tag(queue)}"


BELL_TTL = MINUTE


def job_index(job_id: JobId) -> str:
    """String: the conversation of a job, for looking a job up by its id alone."""
    return f"aside:job:{job_id}"


def recent_jobs() -> str:
    """Sorted set: ``conversation key``, newline, ``job id``, by the time of submission in milliseconds; trimmed."""
    return "aside:work:recent-jobs"


RECENT_JOBS = 10_000


def dead_letters() -> str:
    """Sorted set: delivery ids by the time they were given up, in milliseconds; trimmed."""
    return "aside:dead-letters"


def dead_letter(delivery_id: DeliveryId) -> str:
    """String: a dead letter."""
    return f"aside:dead-letter:{delivery_id}"


DEAD_LETTER_TTL = 30 * DAY
DEAD_LETTERS = 100_000
"""Dead letters kept at most."""


def transcript(conversation_id: str) -> str:
    """Stream: what was said in a conversation of the local development channel."""
    return f"aside:devchannel:{conversation_id}"


TRANSCRIPT_TTL = 7 * DAY


def transcripts_bell() -> str:
    """Stream: conversations to whose transcripts something was added a moment ago; for ``BELL_TTL``."""
    return "aside:devchannel-bell"


def direct_line_key() -> str:
    """String: what this store's Direct Line tokens are signed with, in hexadecimal digits."""
    return "aside:devchannel-key"


DIRECT_LINE_KEY_TTL = TRANSCRIPT_TTL + DAY
"""Longer than a token's lifetime and than a transcript's; counted from its last use."""
