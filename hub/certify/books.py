"""Books: what the party holds is what it answered, and at the end it holds nothing."""

from __future__ import annotations

from hub.certify.checks import Group, check, must
from hub.certify.control import Sums
from hub.certify.stage import Stage
from hub.certify.trouble import control
from schemas.money import yuan_of


@check(
    "books.as_answered",
    Group.BOOKS,
    ("一次结算使对方账簿增加的金额与答复一致", "A settlement moves the party's book by the amount that it answered"),
    ("账簿变动等于批准金额", "the book moves by the approved amount"),
    with_control=True,
)
def as_answered(stage: Stage) -> None:
    before = control(stage).sums()
    claim = stage.settled()
    moved = control(stage).sums().net_fen - before.net_fen
    stage.said.append(f"book: {yuan_of(moved) if moved >= 0 else '-' + yuan_of(-moved)}")
    must(moved == claim.decision.amount_fen, "账簿变动与答复不一致", "the book moved by another amount")


def back_to(stage: Stage, before: Sums) -> None:
    """The book's sums are where they were before the run."""
    now = control(stage).sums()
    net, account = now.net_fen - before.net_fen, now.account_fen - before.account_fen
    left = f"{net / 100:.2f}"
    stage.said.append(f"book: {left}, personal accounts {account / 100:.2f}")
    must(net == 0, f"全部撤销后对方账簿仍余 {left}", f"the party's book still holds {left} of what was taken back")
    must(account == 0, "个人账户未归零", "the personal accounts were not given back")
