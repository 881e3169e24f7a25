from .dialog_and_welcome_bot import DialogAndWelcomeBot
from .dialog_bot import DialogBot

__all__ = ["DialogAndWelcomeBot", "DialogBot"]
