from enum import Enum


class Question(Enum):
    """What the bot asked last."""

    NONE = 0
    NAME = 1
    AGE = 2
    DATE = 3


class ConversationFlow:
    """How far the booking of this conversation is."""

    def __init__(self, asked: Question = Question.NONE, progress_id: str | None = None):
        self.asked = asked
        self.progress_id = progress_id
        """The message that counts the steps."""
