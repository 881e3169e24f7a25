from .saving import auto_save
from .telemetry import TelemetryMiddleware, register_telemetry, telemetry_logger
from .transcript import transcript_logger
from .translation_middleware import TranslationMiddleware, translation
from .typing_indicator import show_typing

__all__ = [
    "TelemetryMiddleware",
    "TranslationMiddleware",
    "auto_save",
    "register_telemetry",
    "show_typing",
    "telemetry_logger",
    "transcript_logger",
    "translation",
]
