from botbuilder.schema import Attachment


class UserProfile:
    """What goes on somebody's card of the swimming club."""

    def __init__(self, name: str | None = None, stroke: str | None = None, age: int = 0, portrait: Attachment = None):
        self.name = name
        self.stroke = stroke
        self.age = age
        self.portrait = portrait
