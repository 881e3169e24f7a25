from .translating_bot import TranslatingBot

__all__ = ["TranslatingBot"]
