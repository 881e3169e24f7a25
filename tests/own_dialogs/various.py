"""A factory, handlers on what is sent, an invoke, and dialogs that have nothing against being spoken into."""

from __future__ import annotations

from botbuilder.core import ConversationState, InvokeResponse, MessageFactory, TurnContext, UserState
from botbuilder.dialogs import ComponentDialog, Dialog, DialogContext, WaterfallDialog
from botbuilder.dialogs.prompts import PromptOptions, TextPrompt
from botbuilder.schema import Activity, ActivityTypes


class Greeter(Dialog):
    def __init__(self, conversations, users, services):
        super().__init__("greeter")
        self.here = conversations.create_property("count")
        self.everywhere = users.create_property("count")
        self.services = services

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context
        here = await self.here.get(context, int) + 1
        everywhere = await self.everywhere.get(context, int) + 1
        await self.here.set(context, here)
        await self.everywhere.set(context, everywhere)
        jobs = await self.services.jobs.list(context)
        await context.send_activity(f"{here} here, {everywhere} everywhere, {len(jobs)} jobs")
        return await dialog_context.end_dialog()


def make_greeter(services, user_state: UserState, conversation_state: ConversationState) -> Dialog:
    return Greeter(conversation_state, user_state, services)


class Shouting(Dialog):
    """Looks at what is sent on its way out, as a translating middleware would."""

    def __init__(self):
        super().__init__("shouting")

    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        context = dialog_context.context

        async def shout(_: TurnContext, activities, next_send):
            for activity in activities:
                activity.text = activity.text.upper()
            return await next_send()

        context.on_send_activities(shout)
        sent = await context.send_activities([MessageFactory.text("one"), MessageFactory.text("two")])
        await context.send_activity(f"{len({response.id for response in sent})} ids")
        return await dialog_context.end_dialog()


class Waiting(ComponentDialog):
    """Waits for the next thing to be said, whatever it is."""

    def __init__(self):
        super().__init__("waiting")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(WaterfallDialog("steps", [self.ask, self.again]))
        self.initial_dialog_id = "steps"

    async def ask(self, step):
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text("What next?")))

    async def again(self, step):
        await step.context.send_activity(f"so: {step.result}")
        return await step.replace_dialog("steps")


class Lounge(Waiting):
    """The same, and says of itself that it may be spoken into."""

    idle = True


class Bell(ComponentDialog):
    """A form."""

    def __init__(self):
        super().__init__("bell")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(WaterfallDialog("form", [self.ask, self.finish]))
        self.initial_dialog_id = "form"

    async def ask(self, step):
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text("Whom shall I call?")))

    async def finish(self, step):
        return await step.end_dialog(step.result)


class Lobby(ComponentDialog):
    """A menu from which a form is begun: a component, a waterfall without prompts, or nothing but a prompt."""

    def __init__(self):
        super().__init__("lobby")
        self.add_dialog(TextPrompt("text"))
        self.add_dialog(Bell())
        self.add_dialog(WaterfallDialog("in_passing", [self.ask_in_passing, self.end]))
        self.add_dialog(WaterfallDialog("menu", [self.ask, self.begin, self.again]))
        self.initial_dialog_id = "menu"

    async def ask(self, step):
        return await step.prompt("text", PromptOptions(prompt=MessageFactory.text("What next?")))

    async def begin(self, step):
        return await step.begin_dialog(step.result)

    async def again(self, step):
        return await step.replace_dialog("menu")

    async def ask_in_passing(self, step):
        await step.context.send_activity("Your name?")
        return Dialog.end_of_turn

    async def end(self, step):
        return await step.end_dialog()


class Reception(ComponentDialog):
    """The root, with the menu in it."""

    def __init__(self):
        super().__init__("reception")
        self.add_dialog(Lobby())


class IdleLobby(Lobby):
    idle = True


class Invoked(ComponentDialog):
    """Answers invoke activities while it waits."""

    def __init__(self):
        super().__init__("invoked")
        self.add_dialog(Answering("answering"))
        self.initial_dialog_id = "answering"


class Answering(Dialog):
    async def begin_dialog(self, dialog_context: DialogContext, options: object = None):
        await dialog_context.context.send_activity("ready")
        return Dialog.end_of_turn

    async def continue_dialog(self, dialog_context: DialogContext):
        context = dialog_context.context
        if context.activity.type == ActivityTypes.invoke and context.activity.name == "task/fetch":
            body = {"task": {"type": "continue", "value": {"title": context.activity.value["title"]}}}
            answer = InvokeResponse(status=200, body=body)
            await context.send_activity(Activity(type=ActivityTypes.invoke_response, value=answer))
        elif context.activity.type == ActivityTypes.invoke and context.activity.name == "break":
            raise RuntimeError("secret: broken")
        return Dialog.end_of_turn
