from botbuilder.core import CardFactory, MessageFactory, UserState
from botbuilder.dialogs import ComponentDialog, DialogTurnResult, WaterfallDialog, WaterfallStepContext
from botbuilder.dialogs.choices import Choice
from botbuilder.dialogs.prompts import (
    AttachmentPrompt,
    ChoicePrompt,
    ConfirmPrompt,
    NumberPrompt,
    PromptOptions,
    PromptValidatorContext,
    TextPrompt,
)
from botbuilder.schema import HeroCard
from data_models import UserProfile

STROKES = ("Crawl", "Breaststroke", "Backstroke")
PICTURES = ("image/jpeg", "image/png")


class UserProfileDialog(ComponentDialog):
    """Signs somebody up at the swimming club."""

    def __init__(self, user_state: UserState):
        super().__init__(UserProfileDialog.__name__)
        self.profile_accessor = user_state.create_property("UserProfile")

        steps = [
            self.stroke_step,
            self.name_step,
            self.greeting_step,
            self.age_step,
            self.portrait_step,
            self.check_step,
            self.last_step,
        ]
        self.add_dialog(WaterfallDialog("SignUp", steps))
        self.add_dialog(ChoicePrompt("Stroke"))
        self.add_dialog(TextPrompt("Name", UserProfileDialog.is_a_name))
        self.add_dialog(NumberPrompt("Age", UserProfileDialog.is_an_age))
        self.add_dialog(AttachmentPrompt("Portrait", UserProfileDialog.is_a_picture))
        self.add_dialog(ConfirmPrompt("YesOrNo"))
        self.initial_dialog_id = "SignUp"

    async def stroke_step(self, step: WaterfallStepContext) -> DialogTurnResult:
        return await step.prompt(
            "Stroke",
            PromptOptions(
                prompt=MessageFactory.text("What do you swim best?"),
                retry_prompt=MessageFactory.text("We only teach these."),
                choices=[Choice(stroke) for stroke in STROKES],
            ),
        )

    async def name_step(self, step: WaterfallStepContext) -> DialogTurnResult:
        step.values["stroke"] = step.result.value
        return await step.prompt("Name", PromptOptions(prompt=MessageFactory.text("Whose card will it be?")))

    async def greeting_step(self, step: WaterfallStepContext) -> DialogTurnResult:
        step.values["name"] = step.result
        await step.context.send_activity(f"A card for {step.result}, then.")
        return await step.prompt("YesOrNo", PromptOptions(prompt=MessageFactory.text("Shall your age be on it?")))

    async def age_step(self, step: WaterfallStepContext) -> DialogTurnResult:
        if not step.result:
            return await step.next(0)
        return await step.prompt(
            "Age",
            PromptOptions(
                prompt=MessageFactory.text("How many years is that?"),
                retry_prompt=MessageFactory.text("Members are between 6 and 110 years old."),
            ),
        )

    async def portrait_step(self, step: WaterfallStepContext) -> DialogTurnResult:
        step.values["age"] = step.result
        return await step.prompt(
            "Portrait",
            PromptOptions(
                prompt=MessageFactory.text("Send me a portrait, or say anything to go without."),
                retry_prompt=MessageFactory.text("A portrait is a JPEG or a PNG."),
            ),
        )

    async def check_step(self, step: WaterfallStepContext) -> DialogTurnResult:
        step.values["portrait"] = step.result[0] if step.result else None
        age = step.values["age"]
        card = HeroCard(
            title=step.values["name"],
            subtitle=step.values["stroke"],
            text=f"{age} years" if age else "of age",
        )
        await step.context.send_activity(MessageFactory.attachment(CardFactory.hero_card(card)))
        return await step.prompt("YesOrNo", PromptOptions(prompt=MessageFactory.text("Print it like this?")))

    async def last_step(self, step: WaterfallStepContext) -> DialogTurnResult:
        if not step.result:
            await step.context.send_activity("Thrown away. Write again for another one.")
            return await step.end_dialog()

        profile: UserProfile = await self.profile_accessor.get(step.context, UserProfile)
        profile.name = step.values["name"]
        profile.stroke = step.values["stroke"]
        profile.age = step.values["age"]
        profile.portrait = step.values["portrait"]
        await step.context.send_activity(f"Printed! See you at the pool, {profile.name}.")
        if profile.portrait:
            await step.context.send_activity(MessageFactory.attachment(profile.portrait, "With your portrait."))
        return await step.end_dialog(profile)

    @staticmethod
    async def is_a_name(prompt: PromptValidatorContext) -> bool:
        return prompt.recognized.succeeded and len(prompt.recognized.value.strip()) > 1

    @staticmethod
    async def is_an_age(prompt: PromptValidatorContext) -> bool:
        if not prompt.recognized.succeeded and prompt.options.number_of_attempts > 1:
            await prompt.context.send_activity("A number from 6 to 110 will do.")
        return prompt.recognized.succeeded and 6 <= prompt.recognized.value <= 110

    @staticmethod
    async def is_a_picture(prompt: PromptValidatorContext) -> bool:
        if not prompt.recognized.succeeded:
            prompt.recognized.value = []
            return True
        prompt.recognized.value = [
            attachment for attachment in prompt.recognized.value if attachment.content_type in PICTURES
        ]
        return len(prompt.recognized.value) > 0
