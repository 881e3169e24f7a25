"""What the SDK's adapter wants at every turn: clients it may never use. They are made when used, and kept.

The SDK makes a new connector client, a new token client and new credentials for each turn; that costs more than
the turn. Activities do not go through these (``channel.http`` sends them); they serve dialogs that ask for
members, sign-in and the like.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from botbuilder.schema import Activity
from botframework.connector.auth import (
    AuthenticateRequestResult,
    BotFrameworkAuthentication,
    ClaimsIdentity,
    ConnectorFactory,
    UserTokenClient,
)
from botframework.connector.skills import BotFrameworkClient

from domain.errors import SignInUnavailable
from domain.service_url import ServiceUrls

KEPT_CLIENTS = 64


class LazyConnector:
    """Stands for a connector client until one of its attributes is used."""

    def __init__(self, clients: SdkClients, service_url: str) -> None:
        self._clients = clients
        self._service_url = service_url

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clients.connector(self._service_url), name)


class LazyUserTokens(UserTokenClient):
    """Stands for the client of the token service until one of its methods is called."""

    def __init__(self, sdk: BotFrameworkAuthentication, identity: ClaimsIdentity, app_id: str | None) -> None:
        self._sdk = sdk
        self._identity = identity
        self._app_id = app_id
        self._client: Any = None

    async def _made(self) -> Any:
        if not self._app_id:
            raise SignInUnavailable(
                "Nobody can sign in without an app id: set MicrosoftAppId and its secret, or leave the OAuthPrompt out."
            )
        if self._client is None:
            self._client = await self._sdk.create_user_token_client(self._identity)
        return self._client

    async def get_user_token(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self._made()).get_user_token(*args, **kwargs)

    async def get_sign_in_resource(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self._made()).get_sign_in_resource(*args, **kwargs)

    async def sign_out_user(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self._made()).sign_out_user(*args, **kwargs)

    async def get_token_status(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self._made()).get_token_status(*args, **kwargs)

    async def get_aad_tokens(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self._made()).get_aad_tokens(*args, **kwargs)

    async def exchange_token(self, *args: Any, **kwargs: Any) -> Any:
        return await (await self._made()).exchange_token(*args, **kwargs)


class _Factory(ConnectorFactory):
    def __init__(self, clients: SdkClients) -> None:
        self._clients = clients

    async def create(self, service_url: str, audience: str | None = None) -> LazyConnector:
        return LazyConnector(self._clients, service_url)


class SdkClients(BotFrameworkAuthentication):
    """The SDK's authentication, with clients that are made late and kept. ``sdk`` is the SDK's own."""

    def __init__(self, sdk: BotFrameworkAuthentication, service_urls: ServiceUrls, credentials: Any) -> None:
        self._sdk = sdk
        self._service_urls = service_urls
        self._credentials = credentials
        self._connectors: OrderedDict[str, Any] = OrderedDict()
        self._factory = _Factory(self)
        self._user_tokens: LazyUserTokens | None = None

    def connector(self, service_url: str) -> Any:
        """The SDK's connector client for an allowed service URL. Raises :class:`ServiceUrlNotAllowed`."""
        self._service_urls.check(service_url)
        client = self._connectors.pop(service_url, None)
        if client is None:
            from botframework.connector.aio import ConnectorClient

            client = ConnectorClient(self._credentials, base_url=service_url)
        self._connectors[service_url] = client
        if len(self._connectors) > KEPT_CLIENTS:
            self._connectors.popitem(last=False)
        return client

    def result(self, identity: ClaimsIdentity) -> AuthenticateRequestResult:
        """What the SDK's adapter takes as proof that a request was authenticated."""
        result = AuthenticateRequestResult()
        result.claims_identity = identity
        result.audience = self._sdk.get_originating_audience()
        result.caller_id = None
        result.connector_factory = self._factory
        return result

    async def authenticate_request(self, activity: Activity, auth_header: str) -> AuthenticateRequestResult:
        return await self._sdk.authenticate_request(activity, auth_header)

    async def authenticate_streaming_request(self, auth_header: str, channel_id_header: str) -> Any:
        return await self._sdk.authenticate_streaming_request(auth_header, channel_id_header)

    def create_connector_factory(self, claims_identity: ClaimsIdentity) -> ConnectorFactory:
        return self._factory

    async def create_user_token_client(self, claims_identity: ClaimsIdentity) -> UserTokenClient:
        if self._user_tokens is None:
            self._user_tokens = LazyUserTokens(self._sdk, claims_identity, self._credentials.microsoft_app_id)
        return self._user_tokens

    def create_bot_framework_client(self) -> BotFrameworkClient:
        return self._sdk.create_bot_framework_client()

    def get_originating_audience(self) -> str:
        return str(self._sdk.get_originating_audience())

    async def authenticate_channel_request(self, auth_header: str) -> ClaimsIdentity:
        return await self._sdk.authenticate_channel_request(auth_header)
