"""Fault scripts: which request is hit is decided by the seed, not by the order of arrival."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from sandbox.faults import SCRIPT, Fault, FaultKind, Faults
from schemas.payer import Operation


def hit(faults: Faults, names: list[str]) -> set[str]:
    return {name for name in names if faults.draw(name, "settle") is not None}


def faulty(*script: Fault, seed: int = 7) -> Faults:
    faults = Faults("P", seed)
    faults.set(script)
    return faults


NAMES = [f"R-{number}" for number in range(1000)]


def test_the_same_seed_hits_the_same_requests_in_any_order() -> None:
    script = Fault(kind=FaultKind.SLOW, rate=0.3)

    first = hit(faulty(script), NAMES)

    assert first == hit(faulty(script), NAMES[::-1])
    assert first != hit(faulty(script, seed=8), NAMES)
    assert 200 < len(first) < 400


def test_a_repeat_draws_anew() -> None:
    faults = faulty(Fault(kind=FaultKind.LOST_ANSWER, rate=0.5))

    drawn = [faults.draw("R-1", "settle") for _ in range(50)]

    assert None in drawn
    assert any(drawn)


def test_a_fault_strikes_as_often_as_it_may() -> None:
    faults = faulty(Fault(kind=FaultKind.HTTP_500, count=2))

    assert len(hit(faults, NAMES)) == 2
    assert faults.report()["struck"] == {"http_500": 2}


def test_a_fault_keeps_to_its_operation() -> None:
    faults = faulty(Fault(kind=FaultKind.LATE, operation="cancel"))

    assert faults.draw("R-1", "settle") is None
    assert faults.draw("R-1", "cancel") is not None


@pytest.mark.parametrize(
    ("kind", "struck"),
    [
        (FaultKind.NOT_FOUND_FIRST, {"inquire"}),
        (FaultKind.REFUSE_UNDO, {"cancel", "reverse"}),
        (FaultKind.DELAYED_EFFECT, {"settle"}),
        (FaultKind.LOST_ANSWER, {"settle", "trial", "cancel", "reverse", "inquire"}),
    ],
)
def test_a_fault_strikes_only_what_it_is_about_and_is_not_used_up_by_the_rest(
    kind: FaultKind, struck: set[str]
) -> None:
    every = [operation.value for operation in Operation]

    assert {name for name in every if faulty(Fault(kind=kind, count=1)).draw("R-1", name)} == struck


def test_the_first_fault_that_strikes_counts() -> None:
    faults = faulty(Fault(kind=FaultKind.SLOW, count=1), Fault(kind=FaultKind.GARBAGE))

    drawn = [faults.draw(name, "settle") for name in NAMES[:3]]

    assert [fault.kind for fault in drawn if fault] == ["slow", "garbage", "garbage"]


def test_an_empty_script_ends_all_faults() -> None:
    faults = faulty(Fault(kind=FaultKind.GARBAGE))
    faults.set([])

    assert hit(faults, NAMES) == set()


@pytest.mark.parametrize(
    "script", [b'[{"kind":"explode"}]', b'[{"kind":"slow","rate":2}]', b'[{"kind":"slow","when":1}]', b"{}"]
)
def test_a_wrong_script_is_refused(script: bytes) -> None:
    with pytest.raises(ValidationError):
        SCRIPT.validate_json(script)


def test_the_page_about_the_sandbox_lists_every_fault() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "sandbox.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE) == [kind.value for kind in FaultKind]
