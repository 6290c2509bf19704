"""Seeds of generated tests: printed, the same in every ordinary run, another each time in the long ones."""

from __future__ import annotations

import os
import random

import pytest

SEED_VARIABLE = "HUB_TEST_SEED"


def seeds(*usual: int, soak: int) -> list[object]:
    """Parameters of a test: `usual` always, and for `-m soak` so many new ones. HUB_TEST_SEED=N repeats one."""
    if wanted := os.environ.get(SEED_VARIABLE):
        return [int(wanted)]
    return [*usual, *(pytest.param(None, marks=pytest.mark.soak, id=f"new{number}") for number in range(soak))]


def chance_of(seed: int | None) -> random.Random:
    """The generator of this seed, or of a new one; the seed is printed."""
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"{SEED_VARIABLE}={seed}")
    return random.Random(seed)
