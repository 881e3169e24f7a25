from .cards import counter_card, lunch_card, search_result, task_card

__all__ = ["counter_card", "lunch_card", "search_result", "task_card"]
