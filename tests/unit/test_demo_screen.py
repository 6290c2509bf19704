"""An interruption of the demo is heard even when the first exception of it was lost."""

from __future__ import annotations

import contextlib

import pytest

from hub.demo.screen import Screen


@pytest.mark.parametrize("step", ["say", "count"])
def test_a_lost_interruption_is_raised_again_at_the_next_step(step):
    screen = Screen()
    with screen.counting(10) as tell:
        with contextlib.suppress(KeyboardInterrupt):
            screen.interrupt()

        with pytest.raises(KeyboardInterrupt):
            screen.say("next") if step == "say" else tell("settled", 1)
