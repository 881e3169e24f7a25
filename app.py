"""Entry point and the only composition root: ``python app.py [serve|web|worker|check]``.

``serve`` is web, delivery and job worker in one process; ``web`` leaves the jobs to others, ``worker`` listens
to nobody; any number of each may share one ``REDIS_URL``. ``check`` validates the configuration and the reachability
of what it names.
"""

from __future__ import annotations

import gc
import importlib.util
import sys

if missing := [name for name in ("aiohttp", "botbuilder", "pydantic_settings") if not importlib.util.find_spec(name)]:
    sys.exit(
        f"{sys.executable} lacks what the service needs ({', '.join(missing)}). Run `make setup`, then "
        "`.venv/bin/python app.py`; or install it here: pip install -r requirements.txt -c constraints.txt"
    )

gc.disable()  # while everything is imported: nothing of it is garbage, and to look for some takes a fifth of the start

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
from botbuilder.dialogs import Dialog
from botbuilder.integration.aiohttp import ConfigurationBotFrameworkAuthentication
from botframework.connector.auth import ClaimsIdentity, MicrosoftAppCredentials

import logs
import settings as configuration
import slips
from channel.connections import Connections
from channel.http import CONNECT_SECONDS, CONNECTIONS, KEEP_SECONDS, SPARE_CONNECTIONS, HttpChannel
from channel.tokens import KeptTokens, NoTokens, Tokens, TokenUnavailable, client_credentials, managed_identity
from delivery.fanout import Fanout
from delivery.loop import Loop
from delivery.replay import Replay
from delivery.sweep import Sweep
from delivery.unattended import Unattended
from devchannel.local import LocalChannel
from devchannel.routes import DirectLine, add_routes
from devchannel.tokens import Tokens as DirectLineTokens
from domain.clock import Clock, system_clock
from domain.errors import AsideError, StoreUnavailable
from domain.notification import Json
from domain.service_url import ServiceUrls
from jobs.answers import answer_to
from jobs.registry import Registry, RegistryError
from jobs.registry import load as load_jobs
from jobs.worker import Worker
from proactive.delivering import Delivering
from proactive.host import DIALOG_STATE, DialogHost
from proactive.middleware import DeliveringMiddleware
from proactive.services import Jobs, Services
from proactive.texts import apology, job_answer
from sdk.activities import activity_from_json
from sdk.adapter import AsideAdapter
from sdk.authentication import ChannelAuthentication, SigningKeys
from sdk.bot_state import TurnConversationState, TurnUserState
from sdk.clients import SdkClients
from sdk.own_parts import WrongPart, make_handler, make_root, modules_in, nowhere, packages_beside, signs_in
from settings import GOVERNMENT_SERVICE, ConfigurationError, Settings
from state import store_url
from state.codec import Codec
from state.conversations import Conversations
from state.dead_letters import DeadLetters
from state.embedded import DataFolderInUse, EmbeddedStore
from state.jobs import JobStore
from state.mail import Mail
from state.notifications import Notifications
from state.rates import Rates
from state.store import Store
from state.transcripts import Transcripts
from state.turns import LEASE, Turns
from state.work import Work
from turns.outbox import Outbox
from turns.pipeline import Pipeline
from web.application import create_application
from web.listening import listening_sockets
from web.metrics import Metrics
from web.server import OPEN_FILES, Server, allow_open_files
from web.services import WebServices

gc.freeze()
gc.enable()

log = logging.getLogger("aside.app")

ROLES = ("serve", "web", "worker", "check")
COLLECT_AFTER = (50_000, 20, 50)
"""Allocations between garbage collections (Python's own: 700, 10, 10). A turn leaves hardly a cycle, but a few
hundred turns under way are many objects to look through."""
DELIVERY_CONCURRENCY = 400
"""Proactive turns under way at once in a process at most; each waits most of its time, half of them for the channel."""
STORE_PAUSE = 0.5
"""Seconds after which a store that is away when the process starts is asked again."""
FANOUT_CONCURRENCY = 4
FANOUT_LEASE = 10.0
JOB_CONCURRENCY = 4
JOB_LEASE = 15.0

PUBLIC_ISSUER = "https://api.botframework.com"
PUBLIC_METADATA = "https://login.botframework.com/v1/.well-known/openidconfiguration"
PUBLIC_SCOPE = "https://api.botframework.com"
GOVERNMENT_ISSUER = "https://api.botframework.us"
GOVERNMENT_METADATA = "https://login.botframework.azure.us/v1/.well-known/openidconfiguration"
GOVERNMENT_SCOPE = "https://api.botframework.us"
LOGIN_PREFIX = "https://login.microsoftonline.com/"
GOVERNMENT_LOGIN_PREFIX = "https://login.microsoftonline.us/"
MULTI_TENANT = "botframework.com"
"""Source of the addresses: ``AuthenticationConstants`` and ``GovernmentConstants`` of botframework-connector 4.17.1."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Where tokens come from and where they are verified."""

    issuer: str
    metadata_url: str
    scope: str
    login_url: str

    @classmethod
    def of(cls, settings: Settings) -> Cloud:
        government = settings.channel_service == GOVERNMENT_SERVICE
        tenant = settings.microsoft_app_tenant_id or MULTI_TENANT
        login = settings.login_url or (GOVERNMENT_LOGIN_PREFIX if government else LOGIN_PREFIX)
        return cls(
            issuer=settings.token_issuer or (GOVERNMENT_ISSUER if government else PUBLIC_ISSUER),
            metadata_url=settings.openid_metadata_url or (GOVERNMENT_METADATA if government else PUBLIC_METADATA),
            scope=settings.oauth_scope or (GOVERNMENT_SCOPE if government else PUBLIC_SCOPE),
            login_url=f"{login.rstrip('/')}/{tenant}",
        )


class Service:
    """Everything that runs in one process, built from settings. Use as an async context manager."""

    def __init__(self, settings: Settings, *, role: str = "serve", clock: Clock = system_clock) -> None:
        self.settings = settings
        self.role = role
        self.clock = clock
        self.port = settings.port
        self._stack = AsyncExitStack()
        self._background: list[asyncio.Task[None]] = []
        self._loops: list[Loop] = []
        self._worker: Worker | None = None
        self._working: asyncio.Task[None] | None = None
        self._web: Any = None
        self._drained_at = 0.0
        self._pages: DirectLine | None = None
        self._sockets: list[socket.socket] = []
        self.metrics = Metrics()

    # ------------------------------------------------------------------ life

    async def __aenter__(self) -> Service:
        try:
            self._bind()
            await self._build()
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def leave(self, at_once: asyncio.Event) -> None:
        """Be not ready but serve on for ``DRAIN_BEFORE``, so that nobody is sent here any more when that ends, or until
        ``at_once``."""
        seconds = self.settings.drain_before
        if self._web is None or not seconds:
            return
        self._web.leave()
        log.info("not ready any more, serving on for %g s", seconds, extra={"action": "leaving"})
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await at_once.wait()

    async def close(self) -> None:
        """Drain: take no new work, let running turns and jobs finish for ``DRAIN_SECONDS``, then end everything."""
        seconds = self.settings.drain_seconds
        self._drained_at = asyncio.get_running_loop().time() + seconds
        for background in self._background:
            background.cancel()
        await asyncio.gather(
            self._drain_web(seconds),
            self._drain_worker(seconds),
            *(loop.drain(seconds) for loop in self._loops),
            *self._background,
            return_exceptions=True,
        )
        await self._stack.aclose()

    async def _drain_web(self, seconds: float) -> None:
        if self._web is not None:
            await asyncio.gather(self._web.drain(seconds), *([self._pages.close(drain=seconds)] if self._pages else []))

    async def _drain_worker(self, seconds: float) -> None:
        if self._worker is not None and self._working is not None:
            try:
                await self._worker.drain(seconds)
            finally:
                self._working.cancel()
                await asyncio.gather(self._working, return_exceptions=True)

    def _bind(self) -> None:
        """Take the port before anything else is started. Raises :class:`web.listening.CannotListen`."""
        if self.role in ("serve", "web"):
            self._sockets = listening_sockets(self.settings.host, self.settings.port)
            for each in self._sockets:
                self._stack.callback(each.close)
            self.port = self._sockets[0].getsockname()[1]

    # ------------------------------------------------------------------ parts

    async def _build(self) -> None:
        settings = self.settings
        self.registry: Registry = load_jobs(settings.jobs)
        self.store = await self._open_store()
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._stack.push_async_callback(self.http.close)
        self.connections = Connections(
            most=CONNECTIONS, spare=SPARE_CONNECTIONS, connect_within=CONNECT_SECONDS, keep_for=KEEP_SECONDS
        )
        self._stack.push_async_callback(self.connections.close)
        self.codec = Codec(settings.state_modules)
        self.work = Work(self.store, "conversations", lease=LEASE.total_seconds() + 1)
        self.fanout_work = Work(self.store, "fanout", lease=FANOUT_LEASE)
        self.job_work = Work(self.store, "jobs", lease=JOB_LEASE, fair=True)
        self.turns = Turns(self.store, self.codec, self.clock)
        self.conversations = Conversations(self.store, frozenset(settings.aad_channels))
        self.notifications = Notifications(self.store, self.fanout_work, self.clock)
        self.jobs = JobStore(self.store, jobs=self.job_work, conversations=self.work, clock=self.clock)
        self.mail = Mail(self.store, self.work)
        self.dead_letters = DeadLetters(self.store, self.clock)
        self.service_urls = ServiceUrls(settings.service_url_allow, local_channel=settings.dev_channel)
        self._build_bot()

    async def _open_store(self) -> Store:
        url = self.settings.redis_url
        if url is None:
            url = await self._embedded_url()
        store = Store.connect(url, replicas=self.settings.store_replicas)
        self._stack.push_async_callback(store.close)
        return store

    async def store_is_there(self) -> None:
        """Until the store takes writes. What runs meanwhile says that it is not ready, and tries again by itself."""
        told = False
        while True:
            try:
                return await self.store.ready()
            except StoreUnavailable as error:
                if not told:
                    away = _away(self.settings, error)
                    log.warning("waiting for the store: %s", away, extra={"action": "store_awaited"})
                told = True
                await asyncio.sleep(STORE_PAUSE)

    async def _embedded_url(self) -> str:
        try:
            embedded = await EmbeddedStore.start(self.settings.data_dir, self.settings.redis_server_bin)
        except DataFolderInUse:
            if self.role != "check":
                raise
            return EmbeddedStore.url_in_use(self.settings.data_dir)  # of the service that runs beside the check
        self._stack.push_async_callback(embedded.stop)
        return embedded.url

    def _build_bot(self) -> None:
        settings = self.settings
        cloud = Cloud.of(settings)
        self.transcripts = Transcripts(self.store, clock=self.clock)
        local = LocalChannel(self.transcripts) if settings.dev_channel else None
        channel = HttpChannel(self.connections, self._tokens(cloud), self.service_urls, local)
        sdk = ConfigurationBotFrameworkAuthentication(_sdk_configuration(settings))
        credentials = MicrosoftAppCredentials(
            settings.microsoft_app_id, settings.microsoft_app_password.get_secret_value(), oauth_scope=cloud.scope
        )
        clients = SdkClients(sdk, self.service_urls, credentials)
        self.authentication = ChannelAuthentication(
            app_id=settings.microsoft_app_id,
            development=settings.development,
            issuer=cloud.issuer,
            signing_keys=SigningKeys(self.http, cloud.metadata_url),
        )
        conversation_state, user_state = TurnConversationState(), TurnUserState()
        outbox = Outbox(
            store=self.store,
            turns=self.turns,
            channel=channel,
            notifications=self.notifications,
            jobs=self.jobs,
            conversations=self.conversations,
            rates=Rates(
                self.store, per_conversation=settings.rate_per_conversation, per_tenant=settings.rate_global
            ),
            clock=self.clock,
            observer=self.metrics,
        )
        adapter = AsideAdapter(clients, channel)
        jobs = Jobs(self.jobs, self.registry, settings.jobs_per_user)
        services = Services(jobs, self.notifications.content)
        offered = {
            "conversation_state": conversation_state,
            "user_state": user_state,
            "services": services,
            "adapter": adapter,
        }
        root = _root_dialog(settings, **offered)
        for name in (settings.dialog, settings.bot, *settings.middleware):
            self.codec.allow(packages_beside(name.partition(":")[0]) if name else ())
        if settings.bot_dir is not None:
            self.codec.allow(modules_in(settings.bot_dir))
        host = DialogHost(root, conversation_state.create_property(DIALOG_STATE), settings.idle_dialogs)
        services.use(host)
        told = (self.notifications.content, self.notifications.deliveries.one)
        delivering = Delivering(host, *told, settings.away_after)
        around = DeliveringMiddleware(host, delivering, jobs, conversation_state, user_state)
        if root is not None:
            offered["dialog"] = root
        for name in settings.middleware:
            adapter.use(_own_part("MIDDLEWARE", name, "middleware", offered))
        adapter.use(around)
        around.bot = _own_part("BOT", settings.bot, "bot", offered)
        self.pipeline = Pipeline(
            turns=self.turns,
            outbox=outbox,
            conversations=self.work,
            mail=self.mail,
            adapter=adapter,
            clients=clients,
            handler=around.handler,
            continued=around.continued,
            apologize=apology,
            app_id=settings.microsoft_app_id,
            vouching=frozenset(settings.aad_channels),
            flush_after=settings.flush_after,
            ended=self.metrics.turn_ended,
            observer=self.metrics,
            clock=self.clock,
        )
        self.fanout = Fanout(
            *(self.store, self.fanout_work, self.notifications, self.conversations, self.mail, self.clock),
            give_way=self.pipeline.precedence.give_way,
            observer=self.metrics,
        )
        self.unattended = Unattended(
            store=self.store,
            known=self.conversations,
            conversations=self.work,
            jobs=self.jobs,
            job_work=self.job_work,
        )
        self.sweep = Sweep(
            store=self.store,
            notifications=self.notifications,
            dead_letters=self.dead_letters,
            mail=self.mail,
            conversations=self.work,
            fanout=self.fanout_work,
            clock=self.clock,
            give_way=self.pipeline.precedence.give_way,
            observer=self.metrics,
            besides=self.unattended.wake,
        )
        self._stack.push_async_callback(self.fanout.settle)

    def _tokens(self, cloud: Cloud) -> Tokens:
        settings = self.settings
        if not settings.microsoft_app_id:
            return NoTokens()
        if settings.microsoft_app_type == "UserAssignedMSI":
            return KeptTokens(managed_identity(settings.microsoft_app_id, cloud.scope))
        return KeptTokens(
            client_credentials(
                self.http,
                login_url=cloud.login_url,
                app_id=settings.microsoft_app_id,
                password=settings.microsoft_app_password.get_secret_value(),
                scope=cloud.scope,
            )
        )

    # ------------------------------------------------------------------ running

    async def _start(self) -> None:
        self._loops = [
            Loop(
                *("delivery", self.work, self.pipeline.proactive_turn),
                concurrency=DELIVERY_CONCURRENCY,
                hurried=lambda: self.pipeline.precedence.taken,
            ),
            Loop("fanout", self.fanout_work, self.fanout.go_on, concurrency=FANOUT_CONCURRENCY),
        ]
        for loop in self._loops:
            self._run(loop.run(), loop.name)
        self._run(self.sweep.run(), "sweep")
        if self.role in ("serve", "worker"):
            self._worker = Worker(
                self.jobs,
                self.job_work,
                self.registry,
                concurrency=JOB_CONCURRENCY,
                lease=JOB_LEASE,
                answer_text=job_answer,
                clock=self.clock,
                observer=self.metrics,
            )
            self._working = asyncio.create_task(self._worker.run(), name="jobs")
        if self.role in ("serve", "web"):
            await self._listen()

    def _run(self, forever: Any, name: str) -> None:
        self._background.append(asyncio.create_task(forever, name=name))

    async def _listen(self) -> None:
        settings = self.settings
        self._web = create_application(
            WebServices(
                notifications=self.notifications,
                conversations=self.conversations,
                jobs=self.jobs,
                store=self.store,
                pipeline=self.pipeline,
                accept=self.fanout.accept,
                authentication=self.authentication,
                keys=settings.notify_api_keys,
                development=settings.development,
                clock=self.clock,
                away_after=settings.away_after,
                service_urls=self.service_urls,
                dead_letters=self.dead_letters,
                replay=Replay(
                    dead_letters=self.dead_letters,
                    notifications=self.notifications,
                    jobs=self.jobs,
                    mail=self.mail,
                    answer_to=lambda job: answer_to(job, job_answer, self.clock()),
                    clock=self.clock,
                ),
                metrics=self.metrics,
                works={"conversations": self.work, "fanout": self.fanout_work, "jobs": self.job_work},
            )
        )
        if settings.dev_channel:
            self._pages = add_routes(
                *(self._web.app, self.transcripts, self._receive),
                keep=self._keep,
                tokens=DirectLineTokens(self.store, clock=self.clock),
                origins=settings.direct_line_origins,
            )
        for name in settings.routes:
            configuration.resolve(name)(self._web.app)
        self._server = Server(self._web.app)
        self._stack.push_async_callback(self._stop_serving)
        await self._server.start(self._sockets)

    async def _stop_serving(self) -> None:
        """Requests that are still under way have what is left of the time to drain."""
        await self._server.close(max(0.0, self._drained_at - asyncio.get_running_loop().time()))

    async def _receive(self, body: Json) -> None:
        """The turn of an activity from the local channel."""
        await self.pipeline.user_turn(ClaimsIdentity({}, True), activity_from_json(body))

    async def _keep(self, body: Json) -> None:
        await self.pipeline.keep(activity_from_json(body), waited=0.0)


def _own_part(variable: str, name: str, what: str, offered: Mapping[str, Any]) -> Any:
    """The developer's bot, or middleware of theirs. Raises :class:`ConfigurationError` if it cannot be made."""
    try:
        return make_handler(name, configuration.resolve(name), what, offered)
    except WrongPart as error:
        raise ConfigurationError([f"{variable}: {error}"]) from error
    except Exception as error:  # whatever the developer's code raises
        mistake = f"{variable}: {name!r} cannot be made ({configuration.why(error)}); correct it there"
        raise ConfigurationError([mistake]) from error


def _root_dialog(settings: Settings, **offered: Any) -> Dialog | None:
    """The developer's root dialog, if there is one. Raises :class:`ConfigurationError` if it cannot be made."""
    name, named = settings.dialog, None
    if name is None:
        return None
    try:
        named = configuration.resolve(name)
        root = make_root(name, named, offered)
    except WrongPart as error:
        raise ConfigurationError([f"ROOT_DIALOG: {error}"]) from error
    except Exception as error:  # whatever the developer's code raises
        mistake = f"ROOT_DIALOG: {name!r} cannot be made ({configuration.why(error, named)}); correct it there"
        raise ConfigurationError([mistake]) from error
    if signs_in(root) and not settings.microsoft_app_id:
        text = "the root dialog has an OAuthPrompt, and nobody can sign in without an app id: set MicrosoftAppId"
        log.warning(text, extra={"action": "sign_in_unavailable"})
    for mistake in nowhere(root, settings.idle_dialogs):
        log.warning("IDLE_DIALOGS: %s", mistake, extra={"action": "idle_dialog_unknown"})
    return root


def _sdk_configuration(settings: Settings) -> SimpleNamespace:
    """What the SDK's own authentication reads."""
    return SimpleNamespace(
        APP_ID=settings.microsoft_app_id,
        APP_PASSWORD=settings.microsoft_app_password.get_secret_value(),
        APP_TYPE=settings.microsoft_app_type,
        APP_TENANTID=settings.microsoft_app_tenant_id,
        CHANNEL_SERVICE=settings.channel_service,
    )


async def _run(settings: Settings, role: str) -> None:
    stop, at_once = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        (at_once if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, told)
    async with Service(settings, role=role) as service:
        gc.freeze()  # what start-up made stays; collections need not look at it again
        gc.set_threshold(*COLLECT_AFTER)
        where = f"http://{settings.host}:{service.port}" if role != "worker" else "jobs only"
        if await _before(stop, service.store_is_there()):
            log.info("ready: %s", where, extra={"action": "ready", "role": role})
            await stop.wait()
            await service.leave(at_once)
        log.info("draining", extra={"action": "draining"})


async def _before(stop: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> bool:
    """Whether ``waiting`` came to its end before it was told to stop."""
    there, stopped = asyncio.create_task(waiting), asyncio.create_task(stop.wait())
    await asyncio.wait((there, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if there.done():
        there.result()
        return True
    there.cancel()
    return False


async def _check(settings: Settings) -> list[str]:
    """What is wrong with, or unreachable of, what the configuration names."""
    problems = []
    async with AsyncExitStack() as stack:
        service = Service(settings, role="check")
        stack.push_async_callback(service._stack.aclose)
        try:
            await service._build()
        except ConfigurationError as error:  # of the root dialog, for which everything else is there
            problems.append(str(error))
        except AsideError as error:
            return [str(error)]
        try:
            await service.store.ready()
        except StoreUnavailable as error:
            problems.append(_away(settings, error))
        try:
            await service._tokens(Cloud.of(settings)).header()
        except TokenUnavailable as error:
            problems.append(str(error))
    return problems


def _away(settings: Settings, error: StoreUnavailable) -> str:
    """Which setting says where the store is that is away or refuses, and what to do; never its password."""
    reason = str(error).rstrip(".")
    if settings.redis_url is None:
        return f"DATA_DIR: {reason}; see server.log in {settings.data_dir}"
    where = store_url.place(settings.redis_url)
    there = f" at {where}" if where else ""
    if "NOREPLICAS" in reason:
        return f"STORE_REPLICAS: {reason}; start as many replicas, or lower it"
    return (
        f"REDIS_URL: {reason}; see that a server runs{there}, is reached from here and takes writes, and that user, "
        "password and database are right, or set it to another"
    )


def _load_settings(role: str) -> Settings:
    """The settings, and what they name is imported. Raises :class:`ConfigurationError` with every mistake."""
    mistakes: list[str] = []
    try:
        settings = configuration.load()
        mistakes += _wrong_store(settings, role)
    except ConfigurationError as error:
        mistakes += error.mistakes
    if names := configuration.load_names():
        mistakes += configuration.check_imports(names)
        try:
            load_jobs(name for name in names.jobs if name in sys.modules)  # the others have been told
        except RegistryError as error:
            mistakes += [f"JOBS: {mistake}" for mistake in error.mistakes]
    if mistakes:
        raise ConfigurationError(mistakes)
    return settings


def _wrong_store(settings: Settings, role: str) -> list[str]:
    """The halves meet in the store: one that nobody else can reach leaves each of them alone."""
    if role not in ("web", "worker") or (settings.redis_url or "memory://").partition(":")[0] != "memory":
        return []
    what = "is a store of one process" if settings.redis_url else "is not set"
    return [
        f"REDIS_URL: {what}, and {role!r} shares its work with other processes; set it to a store that all of them "
        "reach, or run the service without a role, which is everything in one process"
    ]


def _listed(heading: str, lines: Iterable[str]) -> str:
    return "\n  ".join((heading, *lines)) + "\n"


def main(arguments: list[str]) -> int:
    role = arguments[0] if arguments else "serve"
    if role not in ROLES or len(arguments) > 1:
        sys.stderr.write(f"usage: .venv/bin/python app.py [{'|'.join(ROLES)}]\n")
        return 2
    hints = slips.find(configuration.variables(), os.environ)  # before the bot's folder is entered
    try:
        settings = _load_settings(role)
    except ConfigurationError as error:
        sys.stderr.write(_listed("The configuration cannot be used:", error.mistakes))
        sys.stderr.write(_listed("Besides:", hints) if hints else "")
        return 2
    allow_open_files(OPEN_FILES)
    logs.set_up(settings.log_format, settings.log_level)
    for hint in hints:
        log.warning("%s", hint, extra={"action": "setting_unknown"})
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        if role == "check":
            problems = asyncio.run(_check(settings))
            sys.stderr.write("".join(f"{problem}\n" for problem in problems) or "Everything is in order.\n")
            return 1 if problems else 0
        asyncio.run(_run(settings, role))
    except (AsideError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
