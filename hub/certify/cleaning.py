"""Taking back everything that a run has settled, by whatever way the party's interface has."""

from __future__ import annotations

from hub.certify.stage import Claim, Stage, Standing, cancel_of, inquiry_of, reversal_of
from schemas.codes import Outcome

TRIES_MAX = 3


def clean_up(stage: Stage) -> list[Claim]:
    """What could not be taken back, or is not known to stand or not: somebody has to look it up."""
    if stage.control is not None:
        stage.control.heal()
    for claim in stage.standing():
        for attempt in range(1, TRIES_MAX + 1):
            if claim.standing is Standing.NOTHING:
                break
            _undo(stage, claim, attempt)
    return stage.standing()


def _undo(stage: Stage, claim: Claim, attempt: int) -> None:
    known = claim.standing is Standing.STANDS
    if known and stage.can.cancel:
        heard = stage.ask(cancel_of(claim))
        if heard.outcome is Outcome.CANCELLED or not stage.can.reversal:
            return
    if stage.can.reversal and stage.ask(reversal_of(claim.task)).outcome is Outcome.CANCELLED:
        return
    if stage.can.inquiry and not known:
        stage.ask(inquiry_of(claim.task, attempt))
    elif stage.can.idempotent_submit and not known:
        stage.ask(claim.task)
