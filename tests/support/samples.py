"""The recorded samples of the adapters, as tests read them."""

from adapters.samples import (
    ADAPTERS,
    meaning_of,
    meaning_of_error,
    name_of,
    read_answer,
    read_settings,
    read_task,
    sample_answers,
    sample_tasks,
    sibling,
)

__all__ = [
    "ADAPTERS",
    "meaning_of",
    "meaning_of_error",
    "name_of",
    "read_answer",
    "read_settings",
    "read_task",
    "sample_answers",
    "sample_tasks",
    "sibling",
]
