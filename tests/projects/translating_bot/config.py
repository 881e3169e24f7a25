import os


class DefaultConfig:
    """What can be set from outside, and what cannot."""

    PORT = 3978
    APP_ID = os.environ.get("MicrosoftAppId", "")
    APP_PASSWORD = os.environ.get("MicrosoftAppPassword", "")
    APP_TYPE = os.environ.get("MicrosoftAppType", "MultiTenant")
    APP_TENANTID = os.environ.get("MicrosoftAppTenantId", "")

    BOT_LANGUAGE = "en"
    LANGUAGE_PROPERTY = "LanguagePreference"
    """Under which name the user's state has the language of the user."""

    TYPING_DELAY = 0.1
    TYPING_PERIOD = 0.2
    SEARCH_TAKES = 0.38
