from dataclasses import dataclass
from datetime import date


@dataclass
class UserProfile:
    """Who rides, and when."""

    name: str = ""
    age: int = 0
    day: date | None = None
