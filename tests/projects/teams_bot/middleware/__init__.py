from .error_handling import error_handling

__all__ = ["error_handling"]
