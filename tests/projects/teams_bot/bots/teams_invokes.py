from botbuilder.core import CardFactory, ConversationState, TurnContext
from botbuilder.core.teams import TeamsActivityHandler
from botbuilder.schema import AdaptiveCardInvokeResponse, AdaptiveCardInvokeValue
from botbuilder.schema.teams import (
    MessagingExtensionQuery,
    MessagingExtensionResponse,
    MessagingExtensionResult,
    TaskModuleContinueResponse,
    TaskModuleMessageResponse,
    TaskModuleRequest,
    TaskModuleResponse,
    TaskModuleTaskInfo,
)
from cards import lunch_card, search_result

DISHES = {"Soup": "Leek and potato", "Salad": "Beans and tuna", "Stew": "Only on Fridays"}

ROOM_FORM = {
    "type": "AdaptiveCard",
    "version": "1.4",
    "body": [{"type": "Input.Text", "id": "room", "placeholder": "Which room?"}],
    "actions": [{"type": "Action.Submit", "title": "Book"}],
}


class TeamsInvokes(TeamsActivityHandler):
    """What Teams asks for, and wants an answer to at once."""

    def __init__(self, conversation_state: ConversationState):
        self.conversation_state = conversation_state
        self.votes = conversation_state.create_property("Votes")

    async def on_adaptive_card_invoke(
        self, turn_context: TurnContext, invoke_value: AdaptiveCardInvokeValue
    ) -> AdaptiveCardInvokeResponse:
        action = invoke_value.action
        if action.get("verb") != "choose":
            return AdaptiveCardInvokeResponse(
                status_code=400,
                type="application/vnd.microsoft.error",
                value={"code": "BadRequest", "message": f"What is {action.get('verb')}?"},
            )
        votes = await self.votes.get(turn_context, dict)
        votes[turn_context.activity.from_property.name] = action["data"]["dish"]
        return AdaptiveCardInvokeResponse(
            status_code=200, type="application/vnd.microsoft.card.adaptive", value=lunch_card(votes)
        )

    async def on_teams_task_module_fetch(
        self, turn_context: TurnContext, task_module_request: TaskModuleRequest
    ) -> TaskModuleResponse:
        form = TaskModuleTaskInfo(
            title=str(task_module_request.data["data"]),
            height=200,
            width=400,
            card=CardFactory.adaptive_card(ROOM_FORM),
        )
        return TaskModuleResponse(task=TaskModuleContinueResponse(value=form))

    async def on_teams_task_module_submit(
        self, turn_context: TurnContext, task_module_request: TaskModuleRequest
    ) -> TaskModuleResponse:
        room = task_module_request.data["room"]
        await turn_context.send_activity(f"{room} is booked.")
        return TaskModuleResponse(task=TaskModuleMessageResponse(value=f"Enjoy {room}."))

    async def on_teams_messaging_extension_query(
        self, turn_context: TurnContext, query: MessagingExtensionQuery
    ) -> MessagingExtensionResponse:
        wanted = str(query.parameters[0].value).lower()
        found = [search_result(dish, text) for dish, text in DISHES.items() if dish.lower().startswith(wanted)]
        return MessagingExtensionResponse(
            compose_extension=MessagingExtensionResult(type="result", attachment_layout="list", attachments=found)
        )
