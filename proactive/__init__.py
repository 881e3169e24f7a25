"""What a notification is to a conversation, around whatever bot: dialogs, inbox, asking again."""
