from .user_profile import UserProfile

__all__ = ["UserProfile"]
