import time

from botbuilder.core import (
    Middleware,
    NullTelemetryClient,
    RegisterClassMiddleware,
    TelemetryLoggerMiddleware,
    TurnContext,
)
from botbuilder.schema import ActivityTypes

TELEMETRY = "TelemetryClient"


class CountingTelemetryClient(NullTelemetryClient):
    """Keeps in memory what others would send to a dashboard."""

    def __init__(self):
        super().__init__()
        self.events = []

    def track_event(self, name, properties=None, measurements=None):
        self.events.append((name, properties or {}, measurements or {}))

    def count(self, name, **properties):
        return sum(
            event == name and all(known.get(key) == value for key, value in properties.items())
            for event, known, _ in self.events
        )


CLIENT = CountingTelemetryClient()


def register_telemetry() -> RegisterClassMiddleware:
    return RegisterClassMiddleware(CLIENT, TELEMETRY)


def telemetry_logger() -> TelemetryLoggerMiddleware:
    return TelemetryLoggerMiddleware(CLIENT, log_personal_information=True)


class TelemetryMiddleware(Middleware):
    """How long each turn took, and how many messages it sent."""

    async def on_turn(self, context: TurnContext, logic):
        client = context.turn_state[TELEMETRY]
        begun = time.monotonic()
        messages = 0

        async def count(_, activities, next_send):
            nonlocal messages
            messages += sum(activity.type == ActivityTypes.message for activity in activities)
            return await next_send()

        context.on_send_activities(count)
        try:
            await logic()
        finally:
            seconds = time.monotonic() - begun
            client.track_event("Turn", {"type": context.activity.type}, {"seconds": seconds, "messages": messages})
