import os


class DefaultConfig:
    """The registration, and how long people may wait."""

    PORT = 3978
    APP_ID = os.environ.get("MicrosoftAppId", "")
    APP_PASSWORD = os.environ.get("MicrosoftAppPassword", "")
    APP_TYPE = os.environ.get("MicrosoftAppType", "MultiTenant")
    APP_TENANTID = os.environ.get("MicrosoftAppTenantId", "")

    BREAK_SECONDS = 0.2
    MEMBERS_A_PAGE = 2
