from .dictionary_translator import DictionaryTranslator

__all__ = ["DictionaryTranslator"]
