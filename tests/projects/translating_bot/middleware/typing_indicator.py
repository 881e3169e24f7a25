import config as defaults
from botbuilder.core import ShowTypingMiddleware


def show_typing() -> ShowTypingMiddleware:
    return ShowTypingMiddleware(delay=defaults.DefaultConfig.TYPING_DELAY, period=defaults.DefaultConfig.TYPING_PERIOD)
