"""How many examples a property gets: a share of what the profile says, so that a soak run gets its many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings


def times(share: float) -> Callable[[Any], Any]:
    """As many examples as the profile has, times this."""
    return settings(max_examples=max(10, int(settings.default.max_examples * share)))
