from botbuilder.core import CardFactory
from botbuilder.schema import ActionTypes, Attachment, CardAction, HeroCard
from botbuilder.schema.teams import MessagingExtensionAttachment


def counter_card(count: int) -> Attachment:
    """Its buttons change the card, and take it away."""
    return CardFactory.hero_card(
        HeroCard(
            title="Who brings cake?",
            text=f"{count} so far",
            buttons=[
                CardAction(type=ActionTypes.message_back, title="Me", text="one more cake", value={"count": count}),
                CardAction(type=ActionTypes.message_back, title="Enough", text="no more cake"),
            ],
        )
    )


def lunch_card(votes: dict[str, str]) -> dict:
    """Its buttons are answered with the next card."""
    lines = [f"{who}: {dish}" for who, dish in sorted(votes.items())]
    return {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "weight": "Bolder", "text": "Lunch"},
            {"type": "TextBlock", "wrap": True, "text": ", ".join(lines) or "Nobody has chosen."},
        ],
        "actions": [
            {"type": "Action.Execute", "title": dish, "verb": "choose", "data": {"dish": dish}}
            for dish in ("Soup", "Salad")
        ],
    }


def task_card() -> Attachment:
    button = CardAction(type="invoke", title="Book it", value={"type": "task/fetch", "data": "Book a room"})
    return CardFactory.hero_card(HeroCard(title="A room", buttons=[button]))


def search_result(title: str, text: str) -> MessagingExtensionAttachment:
    return MessagingExtensionAttachment(
        content_type=CardFactory.content_types.hero_card,
        content=HeroCard(title=title, text=text),
        preview=CardFactory.hero_card(HeroCard(title=title)),
    )
