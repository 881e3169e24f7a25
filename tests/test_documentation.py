"""What the documentation says is true: its examples run, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from inspect import signature
from pathlib import Path
from typing import TypeGuard

import aiohttp
import pytest

import app
import settings as configuration
from channel import http as channel_client
from docs import generate_http
from domain import sending
from domain.delivery import Failure, Status
from domain.job import JobStatus
from domain.notification import Mode
from domain.phase import Phase
from jobs import context
from jobs.registry import job
from proactive import delivering, inbox
from state import keys, mail, notifications, turns
from testkit.channel import FakeChannel
from tests.conftest import ServiceFactory, url_of
from tests.documentation.pages import PAGES, ROOT, anchors, blocks, first_column, links, name_of, prose, rows
from tests.documentation.reader import Reader, fits
from tests.processes import Processes
from tests.test_structure import requirements
from web import messages, notify_model
from web.metrics import Metrics

DOCS = ROOT / "docs"
README = ROOT / "README.md"
LANGUAGES = {"console", "chat", "python", "json", "sh", "text", "mermaid"}
STORIES = [
    page
    for page in PAGES
    if page != generate_http.HEAD and {block.language for block in blocks(page)} & {"console", "chat", "python", "json"}
]
CODE = [
    path
    for path in ROOT.rglob("*.py")
    if path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks", "soak", "docs") and ".venv" not in path.parts
]
VARIABLES = {configuration._variable(name): field for name, field in configuration.Settings.model_fields.items()}
FORBIDDEN = re.compile(
    r"(?<![\w/&])#\d+\b|(?<!\w)/(?:work|tmp|root)\b|\bagents?\b|\bsessions?\b|\bmirrors?\b"
    r"|\bTODO\b|coming soon|\bplanned\b|\bupcoming\b",
    re.IGNORECASE,
)


class TestExamples:
    @pytest.fixture
    async def reader(
        self, tmp_path: Path, real_url: str, http: aiohttp.ClientSession, channel: FakeChannel
    ) -> AsyncIterator[Reader]:
        folder = tmp_path / "project"
        folder.mkdir()
        with Processes(tmp_path) as processes:
            reader = Reader(folder, real_url, http, channel, processes)
            yield reader
            await reader.close()

    @pytest.mark.timeout(180)
    @pytest.mark.parametrize("page", STORIES, ids=name_of)
    async def test_can_be_followed_from_the_first_to_the_last(self, page: Path, reader: Reader) -> None:
        """Commands print what is shown, chats go as they are told, files do what is said of them."""
        for block in blocks(page):
            try:
                await reader.follows(block)
            except AssertionError as error:
                raise AssertionError(f"{name_of(page)}, line {block.line}: {error}") from error
        await reader.heard_all()

    def test_every_block_says_what_it_is(self) -> None:
        """A block in a language that nobody reads would be an example that nobody tries."""
        languages = {(name_of(page), block.language) for page in PAGES for block in blocks(page)}
        assert {language for _, language in languages} <= LANGUAGES, languages

    def test_an_ellipsis_stands_for_anything_and_all_else_for_itself(self) -> None:
        """The comparison that the examples rely on can fail."""
        assert fits('{"id":"…","n":1}', '{"id":"a\nb","n":1}\n')
        assert not fits('{"id":"…","n":1}', '{"id":"a","n":2}')
        assert not fits("a", "a b")
        assert not fits("a.c", "abc")


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=name_of)
    def test_lead_to_what_is_there(self, page: Path) -> None:
        for link in links(page):
            if re.match(r"[a-z]+:", link):
                assert link.startswith("https://"), link
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert target.is_relative_to(ROOT), link
            if anchor:
                assert anchor in anchors(target), link

    def test_reach_every_page_from_the_readme(self) -> None:
        reached, following = set(), [README]
        while following:
            page = following.pop()
            if page not in reached:
                reached.add(page)
                targets = ((page.parent / link.partition("#")[0]).resolve() for link in links(page))
                following += [target for target in targets if target.suffix == ".md" and target.exists()]
        assert set(PAGES) - reached == set()


class TestGuarantees:
    @pytest.mark.parametrize("row", rows(ROOT / "docs" / "guarantees.md", "guaranteed"), ids=lambda row: row[0][:60])
    def test_each_names_tests_that_exist(self, row: list[str]) -> None:
        """A guarantee whose test was renamed or deleted is one that nobody holds."""
        named = re.findall(r"(tests/\w+\.py)(?:::(\w+))?", row[1])
        assert named
        for path, test in named:
            source = (ROOT / path).read_text(encoding="utf-8")
            assert not test or re.search(rf"def {test}\(", source), f"{path}::{test}"


class TestWords:
    @pytest.mark.parametrize("page", PAGES, ids=name_of)
    def test_are_those_of_the_product(self, page: Path) -> None:
        """Nothing of how it was made, where, or what may become of it."""
        assert FORBIDDEN.findall(page.read_text(encoding="utf-8")) == []

    @pytest.mark.parametrize("page", PAGES, ids=name_of)
    def test_make_targets_exist(self, page: Path) -> None:
        targets = set(" ".join(re.findall(r"^([\w ]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)).split())
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"`make (\w+)`", text)) | set(re.findall(r"^(?:\$ )?.*?\bmake (run|test)$", text, re.M))
        assert named <= targets

    @pytest.mark.parametrize("page", PAGES, ids=name_of)
    def test_variables_exist(self, page: Path) -> None:
        """Whatever looks like a variable, in prose or in a command, is one that is read."""
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|Microsoft\w+)(?:=[^`]*)?`", text))
        named |= set(re.findall(r"(?<![\w-])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|Microsoft[A-Z]\w+)=", text))
        assert named <= set(VARIABLES), named - set(VARIABLES)

    async def test_calls_exist(self, start_service: ServiceFactory, http: aiohttp.ClientSession) -> None:
        """Every call that is named is one that the service describes."""
        service = await start_service()
        async with http.get(f"{url_of(service)}/api/openapi.json") as response:
            paths = (await response.json())["paths"]
        for page in PAGES:
            for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`?\s]*)", prose(page)):
                assert method.lower() in paths.get(path, {}), (name_of(page), method, path)


class TestNumbers:
    @pytest.mark.parametrize(
        ("page", "said"),
        [
            ("docs/production.md", f"| proactive turns at once | {app.DELIVERY_CONCURRENCY} |"),
            ("docs/production.md", f"| jobs at once | {app.JOB_CONCURRENCY} |"),
            ("docs/production.md", f"| connections to channels | {channel_client.CONNECTIONS}, of"),
            ("docs/production.md", f", of which {channel_client.SPARE_CONNECTIONS} for what users are answered |"),
            ("docs/production.md", f"within {turns.LEASE.seconds + 1} seconds, jobs within {app.JOB_LEASE:g}"),
            ("docs/production.md", f"at least {keys.NOTIFICATION_TTL // keys.DAY} days"),
            ("docs/concepts.md", f"It has room for {mail.MAILBOX}; what finds it full"),
            ("docs/concepts.md", f"It has room for {delivering.INBOX}, of which"),
            ("docs/concepts.md", f"the last {inbox.RECENT} things"),
            ("docs/concepts.md", f"at most {notify_model.SCHEDULE_LIMIT.days} days ahead"),
            ("docs/concepts.md", f"at most, {notifications.RETENTION.days} days after"),
            ("docs/concepts.md", f"see above; at most {notify_model.HOLD_LIMIT.days} days"),
            ("docs/concepts.md", f"or {sending.THROTTLED_PAUSE:g} seconds if it does not say"),
            ("docs/concepts.md", f"*dead letter* for {keys.DEAD_LETTER_TTL // keys.DAY} days"),
            ("docs/concepts.md", f"Finished jobs are kept for {keys.JOB_TTL // keys.DAY} days"),
            ("docs/own-jobs.md", f"at most {context.RESULT_LIMIT:,} characters"),
            ("docs/own-jobs.md", f"its lease ({app.JOB_LEASE:g} s) ends"),
            ("docs/teams.md", f"The service answers after {messages.ANSWER_WITHIN:g} with 202"),
            ("docs/operations.md", f"for {keys.UNREADABLE_TTL // keys.DAY} days under `aside:{{…}}:unreadable`"),
            ("ARCHITECTURE.md", f"put aside for {keys.UNREADABLE_TTL // keys.DAY} days"),
            ("ARCHITECTURE.md", f"activity ids of the last {keys.ACTIVITY_IDS_TTL // keys.MINUTE} minutes"),
            ("ARCHITECTURE.md", f"ids of the last {keys.SENT_IDS_KEPT} activities"),
        ],
    )
    def test_are_those_of_the_code(self, page: str, said: str) -> None:
        assert said in " ".join((ROOT / page).read_text(encoding="utf-8").split())

    def test_that_are_written_as_words(self) -> None:
        """``concepts.md`` says four or more for a digest, eight attempts, about two minutes, again twice."""
        pauses = [min(sending.LONGEST_PAUSE, sending.FIRST_PAUSE * 2**tried) for tried in range(sending.TRIES - 1)]
        assert (delivering.DIGEST_FROM, sending.TRIES, sending.PATIENCE) == (4, 8, 3)
        assert 100 < sum(pauses) < 150


class TestTables:
    concepts = DOCS / "concepts.md"

    def test_phases(self) -> None:
        assert first_column(self.concepts, "phase") == [phase.value for phase in Phase]

    def test_modes(self) -> None:
        assert first_column(self.concepts, "mode") == [mode.value for mode in Mode]
        (_, *heads), *_ = [
            [cell.strip(" `") for cell in line.split("|")[1:-1]]
            for line in self.concepts.read_text().splitlines()
            if line.startswith("| mode")
        ]
        assert heads == [phase.value for phase in Phase]
        assert [name.removesuffix(" (the default)").strip("`") for name in first_column(README, "mode")] == [*Mode]

    @pytest.mark.parametrize("page", [README, DOCS / "concepts.md"], ids=name_of)
    def test_statuses(self, page: Path) -> None:
        """In the order of their lives; jobs have a table of their own."""
        statuses = [name for name in first_column(page, "status") if name in set(Status)]
        assert list(dict.fromkeys(statuses)) == [status.value for status in Status]

    @pytest.mark.parametrize("status", list(Status), ids=str)
    def test_statuses_that_a_delivery_can_come_to(self, status: Status) -> None:
        """None is promised that nothing produces."""
        produced = [path for path in CODE if re.search(rf"\bStatus\.{status.name}\b", path.read_text())]
        assert set(produced) - {ROOT / "domain" / "delivery.py"}

    def test_which_statuses_are_final(self) -> None:
        final = {row[0].strip("`"): row[1] for row in rows(self.concepts, "status") if row[1] in ("yes", "no")}
        assert final == {status.value: "yes" if status.final else "no" for status in Status}

    def test_reasons(self) -> None:
        assert set(first_column(self.concepts, "reason of `failed`")) == set(Failure)

    def test_statuses_of_jobs(self) -> None:
        jobs = [row[0].strip("`") for row in rows(self.concepts, "status") if row[1] not in ("yes", "no")]
        assert jobs == [status.value for status in JobStatus]

    def test_settings_of_jobs(self) -> None:
        table = rows(DOCS / "own-jobs.md", "setting")
        described = {row[0].strip("`"): ast.literal_eval(row[1].strip("`")) for row in table}
        parameters = signature(job).parameters
        assert described == {name: each.default for name, each in parameters.items() if name != "name"}

    def test_hosts_that_are_allowed(self) -> None:
        cells = [re.findall(r"`([^`]+)`", row[0]) for row in rows(DOCS / "teams.md", "host")]
        assert {host for hosts in cells for host in hosts} == set(configuration.BOT_FRAMEWORK_HOSTS)

    def test_what_it_does_not_do_yet(self) -> None:
        """Every field that is refused because it is for later is named, and nothing else."""
        section = README.read_text().partition("## What it does not do yet")[2].partition("\n- Times in")[0]
        named = set(re.findall(r"`(\w+)`", section))
        assert named == {place.rpartition("/")[2] for place in notify_model.LATER}

    def test_keys(self) -> None:
        """Every key of the store is in the table, and the table has no other."""
        spelled = re.findall(r'return f?"(aside:[^"]+)"', (ROOT / "state" / "keys.py").read_text())
        described = [
            name for row in rows(ROOT / "ARCHITECTURE.md", "key") for name in re.findall(r"`(aside:[^`]+)`", row[0])
        ]
        assert {_shape(key) for key in spelled} == {_shape(key) for key in described}


def _shape(key: str) -> str:
    return re.sub(r"\{[^}]*\}|…", "*", key.replace("{{", "{"))


class TestConfiguration:
    table = rows(DOCS / "configuration.md", "variable")

    def test_has_every_variable_once(self) -> None:
        assert sorted(row[0].strip("`") for row in self.table) == sorted(VARIABLES)

    @pytest.mark.parametrize("row", table, ids=lambda row: row[0].strip("`"))
    def test_has_the_defaults(self, row: list[str]) -> None:
        """A default that is shown, when it is set, changes nothing."""
        name, default = row[0].strip("`"), row[1]
        field = next(field for field in configuration.Settings.model_fields if configuration._variable(field) == name)
        outside = {"HOST": "0.0.0.0", "NOTIFY_API_KEYS": "a:0123456789abcdef"}
        shown = re.findall(r"`([^`]+)`", default)
        if default == "none":
            value = getattr(configuration.load({}), field)
            assert not (value.get_secret_value() if hasattr(value, "get_secret_value") else value)
        elif name == "SERVICE_URL_ALLOW":
            everywhere = configuration.BOT_FRAMEWORK_HOSTS + configuration.LOOPBACK_ORIGINS
            assert configuration.load({}).service_url_allow == everywhere
            assert configuration.load(outside).service_url_allow == configuration.BOT_FRAMEWORK_HOSTS
        else:
            assert shown, row
            assert getattr(configuration.load({name: shown[0]}), field) == getattr(configuration.load({}), field)
            if name not in outside:
                told = getattr(configuration.load(outside | {name: shown[-1]}), field)
                assert told == getattr(configuration.load(outside), field)


class TestReference:
    async def test_of_http_is_what_the_service_says(
        self, start_service: ServiceFactory, http: aiohttp.ClientSession
    ) -> None:
        """If this fails, run ``python -m docs.generate_http``."""
        service = await start_service()
        async with http.get(f"{url_of(service)}/api/openapi.json") as response:
            page = generate_http.Reference(await response.json()).page()
        assert generate_http.PAGE.read_text(encoding="utf-8") == page


class TestActions:
    def test_are_all_explained_with_their_levels(self) -> None:
        """Each action that the code logs is in the table, at the level at which it is logged, and no other is."""
        table = {row[0].strip("`"): {row[1]} for row in rows(DOCS / "operations.md", "action")}
        assert table == _logged()


class TestMetrics:
    def test_are_all_explained(self) -> None:
        """Each that the service exposes is in the table with its type, and no other is."""
        table = {row[0].strip("`"): row[1] for row in rows(DOCS / "operations.md", "metric")}
        families = Metrics().registry.collect()
        ending = {"counter": "_total"}
        assert table == {family.name + ending.get(family.type, ""): family.type for family in families}


def _logged() -> dict[str, set[str]]:
    """Actions to the levels at which the code logs them: ``"action"`` in a dict, or the argument of ``_note``."""
    found: dict[str, set[str]] = {}
    for path in CODE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                _collect(function, found)
    return found


def _collect(function: ast.AST, found: dict[str, set[str]]) -> None:
    """The level of an action is that of the call that has it, or of the next call after the dict that has it."""
    calls = sorted(
        (
            (node.lineno, node.end_lineno or node.lineno, level)
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and (level := _level(node)) is not None
        ),
        key=lambda call: call[0],
    )
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            pairs = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if _is_text(key)}
            if _is_text(action := pairs.get("action")):
                after = (level for _, end, level in calls if end >= node.lineno)
                found.setdefault(str(action.value), set()).add(next(after, "?"))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "_note":
            level = "warning" if any(getattr(argument, "attr", "") == "WARNING" for argument in node.args) else "info"
            for name in _names(node.args[1]):
                found.setdefault(name, set()).add(level)


def _is_text(node: ast.expr | None) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _level(call: ast.Call) -> str | None:
    """The level of a call of the module's logger."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="log"), attr="exception"):
            return "error"
        case ast.Attribute(value=ast.Name(id="log"), attr=level):
            return level
    return None


def _names(argument: ast.expr) -> list[str]:
    """A name, or those that ``f"job_{status}"`` may become."""
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    return [f"job_{status.value}" for status in JobStatus if status.final]


class TestDependencies:
    def test_are_all_explained_and_nothing_else(self) -> None:
        packages = {
            name.strip().lower()
            for cell in first_column(DOCS / "dependencies.md", "package")
            for name in cell.split(",")
        }
        assert packages == requirements("requirements.txt").keys() | requirements("requirements-dev.txt").keys()
