from botbuilder.core import AutoSaveStateMiddleware, ConversationState, UserState


def auto_save(conversation_state: ConversationState, user_state: UserState) -> AutoSaveStateMiddleware:
    return AutoSaveStateMiddleware([conversation_state, user_state])
