from .user_profile_dialog import UserProfileDialog

__all__ = ["UserProfileDialog"]
