import asyncio

PHRASES = {
    "de": {
        "Which name shall I book the horse for?": "Auf welchen Namen soll ich das Pferd buchen?",
        "How old is the rider?": "Wie alt ist der Reiter?",
        "Which day?": "An welchem Tag?",
        "A name has at least two letters.": "Ein Name hat mindestens zwei Buchstaben.",
        "Riders are from 8 to 80 years old.": "Reiter sind zwischen 8 und 80 Jahren alt.",
        "That is no number.": "Das ist keine Zahl.",
        "I need a day like 2099-01-31, or tomorrow.": "Ich brauche einen Tag wie 2099-01-31, oder morgen.",
        "That day is over.": "Dieser Tag ist vorbei.",
        "A horse is booked:": "Ein Pferd ist gebucht:",
        "I speak your language now.": "Ich spreche jetzt deine Sprache.",
        "Found one.": "Eines gefunden.",
        "Step": "Schritt",
        "years": "Jahre",
        " of ": " von ",
        "tomorrow": "morgen",
        "today": "heute",
        "search": "suche",
        "statistics": "statistik",
        "answers so far": "Antworten bisher",
    }
}


class DictionaryTranslator:
    """Knows some phrases by heart, and leaves everything else as it is."""

    async def translate(self, text: str, source: str, target: str) -> str:
        await asyncio.sleep(0)
        if source == target or not text:
            return text
        phrases = PHRASES.get(target) or {foreign: own for own, foreign in PHRASES.get(source, {}).items()}
        for phrase in sorted(phrases, key=len, reverse=True):
            text = text.replace(phrase, phrases[phrase])
        return text
