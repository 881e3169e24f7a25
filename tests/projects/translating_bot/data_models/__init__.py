from .conversation_flow import ConversationFlow, Question
from .user_profile import UserProfile

__all__ = ["ConversationFlow", "Question", "UserProfile"]
