from .dialog_helper import DialogHelper

__all__ = ["DialogHelper"]
