from botbuilder.core import TranscriptLogger, TranscriptLoggerMiddleware
from botbuilder.schema import Activity


class MemoryTranscript(TranscriptLogger):
    """Everything that was said, by conversation."""

    def __init__(self):
        self.conversations = {}

    async def log_activity(self, activity: Activity) -> None:
        self.conversations.setdefault(activity.conversation.id, []).append(activity)

    def lines(self, conversation_id: str) -> list[str]:
        return [
            f"{activity.from_property.role or 'bot'}: {activity.text}"
            for activity in self.conversations.get(conversation_id, [])
            if activity.text
        ]


TRANSCRIPT = MemoryTranscript()


def transcript_logger() -> TranscriptLoggerMiddleware:
    return TranscriptLoggerMiddleware(TRANSCRIPT)
