from .teams_bot import TeamsBot

__all__ = ["TeamsBot"]
