"""The protocol as a function from a state to its possible next states, with everything else left out.

Two processes, one conversation. Inputs come from clients who post until they are answered, mail from a fan-out that
repeats itself until it is through. A process may crash between any two steps, and any time may pass between them,
so that a lease may have ended whenever somebody looks, also that of a process which lives. The exception is between
the check of the lock and the channel's acceptance, which are one step here (``Turns.assure``). What is a script in
the service, or one round trip whose order matters, is one step here.

A turn may show mail before its commit, one by one (replies too, but of those no record says that they may have been
repeated).

An effect is an ``Item``: the reply to an input, or what shows a piece of mail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

Item = str
"""``i1``: an input and the reply to it. ``m1``: mail and what shows it. ``x1``: mail that is shown at most once."""


class Faulty(Enum):
    """Mistakes that the protocol does not make."""

    ACKNOWLEDGES_BEFORE_SENDING = "acknowledges before sending"
    RELEASES_BEFORE_ACKNOWLEDGING = "releases before acknowledging"
    CLOSES_WITHOUT_TICKET = "closes without the ticket"
    OPENS_ONCE = "opens before it waits for the lock, and not again when it begins"
    OPENS_AFTER_BEGINNING = "opens after beginning"
    WAKE_KEEPS_TICKET = "a wake-up that changes nothing keeps the ticket"
    FORGETS_OTHER_INPUTS = "closes although it saw other inputs"
    COMMITS_WITHOUT_LOCK = "commits without the lock"
    SENDS_WITHOUT_LOCK = "sends without the lock"
    TAKES_OVER_WITHOUT_DOUBT = "takes over without doubt"
    CLOSES_BEFORE_RELEASING = "closes before it is through"
    WAKES_BEFORE_PUTTING = "wakes before putting"
    SPEAKS_EARLY_WITHOUT_MARK = "shows something before its commit and leaves no mark"
    FORGETS_MARK = "begins after a turn that left a mark, and does not look at it"


class Outcome(Enum):
    """What a process knows after a send, before it acknowledges."""

    SETTLED = 1
    """Accepted."""
    UNKNOWN = 2
    """An at-most-once send that may have gone out: it is not tried again."""
    DOUBTFUL = 3
    """To be tried again; it may have gone out."""
    THROTTLED = 4
    """To be tried again."""
    NOTHING = 5
    """There was nothing to send."""


class Entry(NamedTuple):
    """An effect in the outbox."""

    item: Item
    doubtful: bool


DEAD = -1
"""Holds what a process held that is no more."""
NOBODY = -2
"""Who has woken or put off work: no claim's ticket is its score."""


class Process(NamedTuple):
    """What a process has in hand. ``step`` is what it does next: ``begin``, ``send``, ``acknowledge``, ``commit``,
    ``close`` or ``wake``."""

    step: str
    input: Item | None
    """The input whose turn it is."""
    asked: bool = True
    """Whether somebody waits for the answer to ``input`` here."""
    read: tuple[Item, ...] = ()
    """The state as it was read."""
    mail: tuple[Item, ...] = ()
    """The mail that it takes out of the mailbox."""
    others: bool = False
    """Whether it saw kept inputs that are not its own."""
    doubted: frozenset[Item] = frozenset()
    """What a turn that never committed may have shown."""
    early: int = 0
    """How much of the mail it has shown before its commit."""
    entries: tuple[Entry, ...] = ()
    """What it is carrying out."""
    committed: bool = False
    blocked: bool = False
    outcome: Outcome = Outcome.NOTHING
    again: bool = False
    """Whether it found more mail than it knew of when it let go."""


class State(NamedTuple):
    processes: tuple[Process | None, ...]
    inputs: tuple[tuple[Item, str], ...]
    """Each ``open``, ``kept`` (in the mailbox, its wake-up to come) or ``answered``."""
    mail: tuple[tuple[Item, str], ...]
    """Each ``accepted``, ``put`` (its wake-up to come), or ``done``."""
    lock: int | None = None
    """The process whose token is in the lock."""
    state: tuple[Item, ...] = ()
    mailbox: tuple[Item, ...] = ()
    mailed: frozenset[Item] = frozenset()
    """What has ever been put into the mailbox."""
    outbox: tuple[Entry, ...] = ()
    doubt: bool = False
    early: frozenset[Item] = frozenset()
    """Marked: what may have been shown by turns that have not committed."""
    blocked: bool = False
    """The head of the outbox is to be tried again, after a pause."""
    work: int | None = None
    """The process whose ticket is the score of the conversation's member, None if there is no member."""
    commits: tuple[Item, ...] = ()
    """What turns have committed, in order: what the state has to be."""
    accepted: frozenset[Item] = frozenset()
    """What the channel shows."""
    unknown: frozenset[Item] = frozenset()
    wrong: str = ""
    """What the last send did that it must not."""


class Step(NamedTuple):
    """What happened, and what whoever did it got to see, for comparison with the service."""

    name: str
    who: int | Item | tuple[int, Item | None]
    saw: object
    after: State


@dataclass(frozen=True)
class Protocol:
    """``crashes``: whether processes crash, as often as may be; ``faults``: whether the channel answers sends badly;
    ``early``: whether turns take long enough to show something before their commit."""

    faulty: Faulty | None = None
    crashes: bool = True
    faults: bool = True
    early: bool = False

    def is_faulty(self, mistake: Faulty) -> bool:
        return self.faulty is mistake

    def steps(self, s: State) -> Iterator[Step]:
        """Everything that may happen next."""
        yield from self._world(s)
        for who, process in enumerate(s.processes):
            if process is None:
                yield from self._starts(s, who)
            else:
                yield from self._goes_on(s, who, process)
                if self.crashes:
                    yield Step("crash", who, None, gone(s, who))

    # ------------------------------------------------------------------ the world

    def _world(self, s: State) -> Iterator[Step]:
        for item, status in s.mail:
            yield from self._fans_out(s, item, status)
        for item, status in s.inputs:
            if status == "open":
                kept = s if item in s.commits else _put(s, item)
                yield Step("keep", item, None, kept._replace(inputs=_set(s.inputs, item, "kept")))
            elif status == "kept":
                promised = self._wake(s)._replace(inputs=_set(s.inputs, item, "answered"))
                yield Step("promise", item, None, promised)
                if self.crashes:
                    yield Step("front crash", item, None, s._replace(inputs=_set(s.inputs, item, "open")))

    def _fans_out(self, s: State, item: Item, status: str) -> Iterator[Step]:
        first, second = ("put", "wake")
        if self.is_faulty(Faulty.WAKES_BEFORE_PUTTING):
            first, second = second, first
        name = {"accepted": first, "put": second}.get(status)
        if name is None:
            return
        after = _put(s, item) if name == "put" else self._wake(s)
        following = "put" if status == "accepted" else "done"
        yield Step(name, item, None, after._replace(mail=_set(s.mail, item, following)))
        if status == "put" and self.crashes:
            yield Step("fan-out crash", item, None, s._replace(mail=_set(s.mail, item, "accepted")))

    def _wake(self, s: State) -> State:
        """A wake-up takes every claim's ticket away, also when the member is due, or will be, without it."""
        kept = self.is_faulty(Faulty.WAKE_KEEPS_TICKET) and s.work is not None
        return s if kept else s._replace(work=NOBODY)

    # ------------------------------------------------------------------ a turn

    def _starts(self, s: State, who: int) -> Iterator[Step]:
        """A turn begins, for an input that is posted (or posted again) or because work is due."""
        early = self.is_faulty(Faulty.OPENS_ONCE)
        for item in [item for item, status in s.inputs if status != "answered"] + [None] * (s.work is not None):
            if early:
                yield Step("open", (who, item), None, _opened(_with(s, who, Process("begin", item)), who))
            else:
                yield from self._begins(s, who, item)

    def _goes_on(self, s: State, who: int, p: Process) -> Iterator[Step]:
        match p.step:
            case "begin":  # has waited, with what it took in hand before
                yield from self._begins(s, who, p.input)
            case "open":  # too late
                yield Step("open", who, None, _opened(_with(s, who, p._replace(step=_after_beginning(p))), who))
            case "send":
                yield from self._sends(s, who, p)
            case "acknowledge":
                yield self._acknowledges(s, who, p)
            case "commit":
                yield self._commits(s, who, p)
                if self.early:
                    yield from self._speaks_early(s, who, p)
            case "close":
                yield self._closes(s, who, p)
            case "wake":
                yield Step("wake", who, None, _done(self._wake(s), who, p))

    def _begins(self, s: State, who: int, item: Item | None) -> Iterator[Step]:
        """One round trip takes the conversation's work in hand, and then the lock: there is no turn without work."""
        if self.faulty not in (Faulty.OPENS_ONCE, Faulty.OPENS_AFTER_BEGINNING):
            s = _opened(s, who)
        if item is not None and item in s.commits:
            answered = s._replace(inputs=_set(s.inputs, item, "answered"))
            yield Step("begin", (who, item), "already processed", self._wake(gone(answered, who)))
            return
        if s.lock is not None:
            waits = item is not None and self.is_faulty(Faulty.OPENS_ONCE)
            yield Step("begin", (who, item), "taken", s if waits else gone(s, who))
        for blocked in (False, True) if s.blocked else (False,):  # the pause may be over
            yield self._begun(s, who, item, blocked)

    def _begun(self, s: State, who: int, item: Item | None, blocked: bool) -> Step:
        takes_over = s.lock is not None and not s.blocked and bool(s.outbox)
        doubt = s.doubt or (takes_over and not self.is_faulty(Faulty.TAKES_OVER_WITHOUT_DOUBT))
        kept = tuple(each for each in s.mailbox if each[0] == "i")
        p = Process(
            step="",
            input=kept[0] if item is None and kept else item,
            asked=item is not None,
            read=s.state,
            mail=tuple(each for each in s.mailbox if each[0] != "i"),
            entries=_doubted(s.outbox) if doubt else s.outbox,
            blocked=blocked,
            doubted=frozenset() if self.is_faulty(Faulty.FORGETS_MARK) else s.early,
        )
        late = item is not None and self.is_faulty(Faulty.OPENS_AFTER_BEGINNING)
        p = p._replace(others=any(each != p.input for each in kept), step="open" if late else _after_beginning(p))
        saw = (tuple(entry.item for entry in s.outbox), p.mail, kept, s.state, doubt, blocked, p.doubted)
        return Step("begin", (who, item), saw, _with(s._replace(lock=who, doubt=doubt, blocked=blocked), who, p))

    def _speaks_early(self, s: State, who: int, p: Process) -> Iterator[Step]:
        """Shows the next piece of mail, unless that is to be shown at most once: what comes after that waits too."""
        if p.blocked or not holds(s, who) or p.early == len(p.mail) or p.mail[p.early][0] == "x":
            return
        item = p.mail[p.early]
        early = s.early if self.is_faulty(Faulty.SPEAKS_EARLY_WITHOUT_MARK) else s.early | {item}
        shown = _accept_early(s._replace(early=early), Entry(item, item in p.doubted))
        yield Step("early", who, None, _with(shown, who, p._replace(early=p.early + 1)))

    def _commits(self, s: State, who: int, p: Process) -> Step:
        if not holds(s, who) and not self.is_faulty(Faulty.COMMITS_WITHOUT_LOCK):
            return Step("commit", who, "lost", gone(s, who))
        new = (*p.mail, *((p.input,) if p.input is not None else ()))
        entries = tuple(Entry(item, item in p.doubted) for item in new[p.early :])
        after = s._replace(
            early=s.early - set(new),
            state=p.read + new,
            commits=s.commits + new,
            mailbox=tuple(item for item in s.mailbox if item not in new),
            outbox=s.outbox + entries,
        )
        if self.is_faulty(Faulty.CLOSES_BEFORE_RELEASING) and _is_ticket_of(after, who):
            after = after._replace(work=None)
        going = entries if not p.blocked else ()
        step = "send" if going else "acknowledge"
        p = p._replace(step=step, read=(), mail=(), entries=going, committed=True, outcome=Outcome.NOTHING)
        p = p._replace(doubted=frozenset(), early=0)
        return Step("commit", who, new[len(new) - len(entries) :], _with(after, who, p))

    # ------------------------------------------------------------------ carrying out

    def _sends(self, s: State, who: int, p: Process) -> Iterator[Step]:
        item, doubtful = p.entries[0]
        if not holds(s, who) and not self.is_faulty(Faulty.SENDS_WITHOUT_LOCK):
            yield Step("send", who, "lost", gone(s, who))
            return
        if self.is_faulty(Faulty.ACKNOWLEDGES_BEFORE_SENDING) and p.outcome is Outcome.NOTHING:
            s = s._replace(outbox=s.outbox[1:])
            yield Step("acknowledge early", who, None, _with(s, who, p._replace(outcome=Outcome.SETTLED)))
            return
        if self.is_faulty(Faulty.RELEASES_BEFORE_ACKNOWLEDGING) and p.committed and len(p.entries) == 1:
            s = s._replace(lock=None)
        at_most_once = item[0] == "x"
        if at_most_once and doubtful:
            yield Step("send", who, Outcome.UNKNOWN, _with(s, who, _answered(p, Outcome.UNKNOWN)))
            return
        shown = _accept(s, p.entries[0])
        yield Step("send", who, Outcome.SETTLED, _with(shown, who, _answered(p, Outcome.SETTLED)))
        if self.faults:
            outcome = Outcome.UNKNOWN if at_most_once else Outcome.DOUBTFUL
            for after in (s, shown):
                yield Step("send", who, outcome, _with(after, who, _answered(p, outcome)))
            yield Step("send", who, Outcome.THROTTLED, _with(s, who, _answered(p, Outcome.THROTTLED)))

    def _acknowledges(self, s: State, who: int, p: Process) -> Step:
        """One round trip: what is done leaves the outbox; after the last, the lock is released."""
        if not holds(s, who) and not self.is_faulty(Faulty.RELEASES_BEFORE_ACKNOWLEDGING):
            return Step("acknowledge", who, "lost", gone(s, who))
        match p.outcome:
            case Outcome.SETTLED | Outcome.UNKNOWN:
                never_told = frozenset({p.entries[0].item}) if p.outcome is Outcome.UNKNOWN else frozenset()
                outbox = s.outbox[1:] if s.outbox and s.outbox[0].item == p.entries[0].item else s.outbox
                s = s._replace(outbox=outbox, doubt=False, unknown=s.unknown | never_told)
                p = p._replace(entries=p.entries[1:])
            case Outcome.DOUBTFUL | Outcome.THROTTLED:
                head = Entry(p.entries[0].item, p.entries[0].doubtful or p.outcome is Outcome.DOUBTFUL)
                s = s._replace(outbox=(head, *s.outbox[1:]), doubt=False, blocked=True)
                p = p._replace(entries=(), blocked=True)
        saw = (len(s.outbox), len(s.mailbox))
        if p.entries:
            p = p._replace(step="send", outcome=Outcome.NOTHING)
        elif not p.committed:
            p = p._replace(step="commit", outcome=Outcome.NOTHING)
        else:
            p = p._replace(step="close", outcome=Outcome.NOTHING, again=_more(s, p))
            s = s._replace(lock=None)
        return Step("acknowledge", who, saw, _with(s, who, p))

    def _closes(self, s: State, who: int, p: Process) -> Step:
        mine = _is_ticket_of(s, who)
        if mine or self.is_faulty(Faulty.CLOSES_WITHOUT_TICKET):
            later = p.blocked or (p.others and not self.is_faulty(Faulty.FORGETS_OTHER_INPUTS))
            s = s._replace(work=NOBODY if later else None)
        if p.again or (not mine and p.blocked):
            return Step("close", who, mine, _with(s, who, p._replace(step="wake")))
        return Step("close", who, mine, _done(s, who, p))


# ---------------------------------------------------------------------- parts of steps


def holds(s: State, who: int) -> bool:
    return s.lock == who


def _is_ticket_of(s: State, who: int) -> bool:
    return s.work == who


def _opened(s: State, who: int) -> State:
    return s._replace(work=who)


def _after_beginning(p: Process) -> str:
    return "send" if p.entries and not p.blocked else "commit"


def _answered(p: Process, outcome: Outcome) -> Process:
    return p._replace(step="acknowledge", outcome=outcome)


def _doubted(outbox: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return (Entry(outbox[0].item, True), *outbox[1:]) if outbox else ()


def _more(s: State, p: Process) -> bool:
    """Whether there is mail that the turn did not see, or something in the outbox that nobody waits for."""
    seen_and_left = int(p.others)
    return len(s.mailbox) > seen_and_left or (bool(s.outbox) and not p.blocked)


def _accept(s: State, entry: Entry) -> State:
    """The channel shows an activity; what is wrong with that is noted."""
    wrong = ""
    place = s.commits.index(entry.item) if entry.item in s.commits else -1
    if place < 0:
        wrong = f"{entry.item} is shown, and was never committed"
    elif not set(s.commits[:place]) <= s.accepted | s.unknown:
        wrong = f"{entry.item} is shown before what was committed before it"
    elif entry.item in s.accepted and not entry.doubtful:
        wrong = f"{entry.item} is repeated, and that is not recorded"
    elif entry.item in s.accepted and entry.item[0] == "x":
        wrong = f"{entry.item} is repeated, although at most once"
    elif (set(s.commits[place + 1 :]) & s.accepted) - _to_be_repeated(s):
        wrong = f"{entry.item} is repeated after what came after it"
    return s._replace(accepted=s.accepted | {entry.item}, wrong=s.wrong or wrong)


def _to_be_repeated(s: State) -> set[Item]:
    """What a turn that never committed had shown, and another shows again after what came before it."""
    return {entry.item for entry in s.outbox[1:] if entry.doubtful}


def _accept_early(s: State, entry: Entry) -> State:
    """The channel shows an activity before the commit of its turn."""
    wrong = ""
    if not set(s.commits) <= s.accepted | s.unknown:
        wrong = f"{entry.item} is shown early, before what was committed before it"
    elif entry.item in s.accepted and not entry.doubtful:
        wrong = f"{entry.item} is repeated early, and that is not recorded"
    return s._replace(accepted=s.accepted | {entry.item}, wrong=s.wrong or wrong)


def _put(s: State, item: Item) -> State:
    if item in s.mailed and item[0] != "i":
        return s
    mailbox = s.mailbox if item in s.mailbox else (*s.mailbox, item)
    return s._replace(mailbox=mailbox, mailed=s.mailed | {item})


def _set(statuses: tuple[tuple[Item, str], ...], item: Item, status: str) -> tuple[tuple[Item, str], ...]:
    return tuple((each, status if each == item else before) for each, before in statuses)


def _with(s: State, who: int, process: Process | None) -> State:
    return s._replace(processes=tuple(process if n == who else each for n, each in enumerate(s.processes)))


def gone(s: State, who: int) -> State:
    """A process has nothing in hand any more. Its lock and its claim are those of nobody who lives."""
    if holds(s, who):
        s = s._replace(lock=DEAD)
    if _is_ticket_of(s, who):
        s = s._replace(work=NOBODY)
    return _with(s, who, None)


def _done(s: State, who: int, p: Process) -> State:
    """The turn is over, and whoever asked is answered."""
    if p.input is not None and p.asked:
        s = s._replace(inputs=_set(s.inputs, p.input, "answered"))
    return gone(s, who)


def start(*, inputs: int = 2, mail: tuple[Item, ...] = ("m1", "x2")) -> State:
    return State(
        processes=(None, None),
        inputs=tuple((f"i{number}", "open") for number in range(1, inputs + 1)),
        mail=tuple((item, "accepted") for item in mail),
    )
