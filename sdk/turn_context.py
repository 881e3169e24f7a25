"""The turn context: the SDK's own, which copies what is sent only as deep as that is changed on the way.

The SDK copies every activity to its last button before it writes the address on it, and the whole reference for that:
an eighth of the processor time of a delivery. Here an activity is serialized before anybody else can touch it, so that
a copy of its surface will do. Where somebody can (a handler of ``on_send_activities``, or whoever called, while a
reply waits to go out in the response) the SDK's way is taken. ``tests/test_turn_context.py`` compares the two.
"""

from __future__ import annotations

from botbuilder.core import TurnContext
from botbuilder.schema import Activity, ActivityTypes, DeliveryModes, InputHints, ResourceResponse
from botframework.connector import Channels

from state.turn import refuse_if_over

_NOT_REPLIED_TO = (Channels.direct_line, Channels.webchat)


class LightTurnContext(TurnContext):
    async def send_activities(self, activities: list[Activity]) -> list[ResourceResponse]:
        refuse_if_over(self)
        if self._on_send_activities or self._activity.delivery_mode == DeliveryModes.expect_replies:
            answers: list[ResourceResponse] = await super().send_activities(activities)
            return answers
        sent = [self._addressed(activity) for activity in activities]
        answers = await self.adapter.send_activities(self, sent)
        if any(activity.type != ActivityTypes.trace for activity in sent):
            self.responded = True
        return answers

    def _addressed(self, activity: Activity) -> Activity:
        """A copy of what is to be sent, addressed as the SDK's ``apply_conversation_reference`` does. That overwrites a
        locale; what has an ``own_locale``, as notifications have, keeps it."""
        heard = self._activity
        copy: Activity = object.__new__(type(activity))
        attributes = vars(copy)
        attributes.update(vars(activity))
        attributes |= {
            "type": activity.type or ActivityTypes.message,
            "input_hint": activity.input_hint or InputHints.accepting_input.value,
            "id": None,
            "channel_id": heard.channel_id,
            "locale": getattr(activity, "own_locale", None) or heard.locale,
            "service_url": heard.service_url,
            "conversation": heard.conversation,
            "from_property": heard.recipient,
            "recipient": heard.from_property,
        }
        replies = heard.type != ActivityTypes.conversation_update and heard.channel_id not in _NOT_REPLIED_TO
        if replies and heard.id:
            attributes["reply_to_id"] = heard.id
        return copy
