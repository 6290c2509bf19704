"""Notices that a payer has not taken: said again, or closed because people have seen to it.

One person is enough: what a notice tells moves no money by itself.
"""

from __future__ import annotations

from hub.people.actions import ActionKind
from hub.ports import Clock
from hub.work import Work
from schemas.errors import Conflict, NotFound
from store import notices
from store.actions import Action
from store.notices import NoticeProgress, StoredNotice

_PREFIX = "notice/"
_AGAIN = frozenset({NoticeProgress.REFUSED, NoticeProgress.GIVEN_UP, NoticeProgress.WAITING})


def subject_of(request_id: str) -> str:
    """How an action names a notice."""
    return f"{_PREFIX}{request_id}"


def notice_kinds(clock: Clock) -> tuple[ActionKind, ...]:
    """The kinds `notice.retry` and `notice.close`, about `notice/<request id>`."""

    def check(work: Work, action: Action) -> None:
        _open(work, action)

    def retry(work: Work, action: Action) -> str:
        notice = _open(work, action)
        notices.set_state(work.connection, notice.request_id, NoticeProgress.WAITING, clock.now())
        return f"{notice.payer} is told again of {notice.transaction}, under the same request id"

    def close(work: Work, action: Action) -> str:
        notice = _open(work, action)
        notices.set_state(work.connection, notice.request_id, NoticeProgress.WITHDRAWN, clock.now())
        return f"{notice.payer} is not told of {notice.transaction} any more"

    def alone(_work: Work, _action: Action) -> bool:
        return False

    return (
        ActionKind("notice.retry", retry, second_person=alone, check=check),
        ActionKind("notice.close", close, second_person=alone, check=check),
    )


def _open(work: Work, action: Action) -> StoredNotice:
    request_id = action.subject.removeprefix(_PREFIX)
    notice = notices.lock(work.connection, request_id)
    if notice is None:
        raise NotFound("no such notice", code="notice.not_found", notice=request_id)
    if notice.state not in _AGAIN:
        raise Conflict(f"the notice is {notice.state}: nothing is to be done", code="notice.done", notice=request_id)
    return notice
