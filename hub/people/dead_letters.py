"""Working through dead letters: look, take, edit, replay, discard. Each step is recorded as an action.

A replay and the change of the letter's state are one transaction with one new outbox row, so a letter is replayed once
however often somebody asks. Why a replay does no harm is said in `hub.people.diagnosis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hub.broker.topology import Topology
from hub.people.actions import ActionKind, Actions
from hub.people.diagnosis import Diagnosis, diagnosis_of, safety_of
from hub.people.forecast import Effect, Forecast, blocked_by, forecast
from hub.people.letters import Facts, digest_of, facts_of, named_in, replay_id, replay_message, replay_of
from hub.people.masking import difference
from hub.people.operators import check_operator, check_reason
from hub.ports import Clock
from hub.timeline import TimelineEvent, timeline
from hub.work import Work, WorkUnits
from schemas.base import Bilingual
from schemas.errors import Conflict, InvalidMessage, NotFound, Violation
from schemas.strict_json import BODY_MAX_BYTES
from store import actions as action_rows
from store import answers, cases, exchanges
from store import dead_letters as rows
from store.actions import Action
from store.dead_letters import GROUPINGS, LetterFilter, LetterGroup, StoredLetter

REPLAY, DISCARD, TAKE, EDIT, REVEAL = "dlq.replay", "dlq.discard", "dlq.take", "dlq.edit", "dlq.reveal"
LETTERS, DIGESTS = "letters", "sha256"
AT_ONCE_MAX = 1_000
"""Letters of one action, which is one transaction."""


@dataclass(frozen=True, slots=True)
class LetterView:
    """A letter with everything one asks about it."""

    letter: StoredLetter
    facts: Facts
    diagnosis: Diagnosis
    safety: Bilingual
    forecast: Forecast
    case_id: str
    timeline: tuple[TimelineEvent, ...]
    actions: tuple[Action, ...]
    replay_of: int
    """The letter that this one is a replay of, 0 for none."""
    replays: tuple[StoredLetter, ...]
    """Letters that its own replay became."""


class DeadLetters:
    """The dead letters of a hub, for its operators."""

    def __init__(self, work_units: WorkUnits, clock: Clock, layout: Callable[[], Topology], actions: Actions) -> None:
        self._work_units = work_units
        self._clock = clock
        self._layout = layout
        self._actions = actions
        actions.register(
            ActionKind(REPLAY, self._replay, self._needs_second, self._check_replay),
            ActionKind(DISCARD, self._discard, self._needs_second, self._check_open),
        )

    # Looking.

    def listed(self, wanted: LetterFilter, *, limit: int, after: int = 0) -> list[StoredLetter]:
        """Letters, the oldest first."""
        with self._work_units.read() as connection:
            return rows.listed(connection, wanted, limit=limit, after=after)

    def count(self, wanted: LetterFilter) -> int:
        """How many there are."""
        with self._work_units.read() as connection:
            return rows.count(connection, wanted)

    def groups(self, wanted: LetterFilter, by: str) -> list[LetterGroup]:
        """Letters by cause, owner, age, queue or type, the largest group first."""
        if by not in GROUPINGS:
            remedy = f"group by one of {', '.join(GROUPINGS)}"
            raise InvalidMessage("", Violation("by", "query.grouping", remedy), code="query.invalid")
        with self._work_units.read() as connection:
            return rows.groups(connection, wanted, by, self._clock.now())

    def get(self, letter_id: int) -> StoredLetter:
        """One letter; NotFound when there is none."""
        with self._work_units.read() as connection:
            return _one(rows.read(connection, [letter_id]), letter_id)

    def show(self, letter_id: int) -> LetterView:
        """One letter with diagnosis, what a replay would do, and its trail. NotFound when there is none."""
        with self._work_units.read() as connection:
            letter = _one(rows.read(connection, [letter_id]), letter_id)
            facts, named = facts_of(letter), named_in(letter)
            key = (named.institution, named.settlement_no)
            case_id = named.case_id or cases.find_by_key(connection, [key]).get(key, ("",))[0]
            case = cases.read(connection, [case_id]).get(case_id) if case_id else None
            events: tuple[TimelineEvent, ...] = ()
            if case is not None:
                events = timeline(case, exchanges.of_case(connection, case_id), answers.history(connection, case_id))
            replayed = letter.replay_message_id
            return LetterView(
                letter,
                facts,
                diagnosis_of(letter.cause),
                safety_of(facts),
                forecast(connection, self._layout(), letter),
                case_id if case is not None else "",
                events,
                tuple(action_rows.about(connection, _subject([letter_id]), LETTERS, letter_id)),
                replay_of(letter.message_id),
                tuple(rows.of_message(connection, replayed)) if replayed else (),
            )

    def forecasts(self, letters: Sequence[StoredLetter]) -> list[Forecast]:
        """What replaying these would do now."""
        layout = self._layout()
        with self._work_units.read() as connection:
            return [forecast(connection, layout, letter) for letter in letters]

    def reveal(self, letter_id: int, reason: str, by: str) -> StoredLetter:
        """The letter for somebody who has to see personal data; that they did is recorded first."""
        check_operator(by)
        with self._work_units.begin("dlq") as work:
            letter = _one(rows.read(work.connection, [letter_id]), letter_id)
            self._actions.record(work, REVEAL, _subject([letter_id]), {}, check_reason(reason), by)
        return letter

    # Changing.

    def take(self, letter_ids: Sequence[int], by: str, *, owner: str | None = None) -> int:
        """Own open letters, or (with `owner`) give them to somebody, or with "" to nobody; how many."""
        new_owner = check_operator(by) if owner is None else owner and check_operator(owner)
        with self._work_units.begin("dlq") as work:
            found = rows.lock(work.connection, letter_ids)
            _one(found, letter_ids[0] if letter_ids else 0)
            taken = rows.own(work.connection, letter_ids, new_owner)
            detail = {LETTERS: [one.id for one in found], "owner": new_owner}
            self._actions.record(work, TAKE, _subject(letter_ids), detail, "", by)
        return taken

    def edit(self, letter_id: int, body: bytes | None, reason: str, by: str) -> str:
        """Set what a replay will send (None: the body as it came); the diff with personal data hidden."""
        check_operator(by)
        if body is not None and not 0 < len(body) <= BODY_MAX_BYTES:
            raise InvalidMessage("the new body is empty or larger than 1 MiB", code="operator.invalid")
        with self._work_units.begin("dlq") as work:
            letter = _one(rows.lock(work.connection, [letter_id]), letter_id)
            _refuse_closed(letter)
            rows.edit(work.connection, letter_id, body)
            detail = {LETTERS: [letter_id], DIGESTS: [digest_of(letter.body if body is None else body)]}
            self._actions.record(work, EDIT, _subject([letter_id]), detail, check_reason(reason), by)
        return difference(letter.body, letter.body if body is None else body)

    def replay(self, letters: Sequence[StoredLetter], reason: str, by: str) -> Action:
        """Ask for the replay of these letters, AT_ONCE_MAX at most; digests of their bytes are part of the action."""
        return self._request(REPLAY, letters, reason, by)

    def discard(self, letters: Sequence[StoredLetter], reason: str, by: str) -> Action:
        """Ask that these letters be set aside for good; the rows stay."""
        return self._request(DISCARD, letters, reason, by)

    def _request(self, kind: str, letters: Sequence[StoredLetter], reason: str, by: str) -> Action:
        if not 0 < len(letters) <= AT_ONCE_MAX:
            raise InvalidMessage(f"name 1 to {AT_ONCE_MAX} letters", code="operator.invalid")
        ordered = sorted(letters, key=lambda one: one.id)
        detail: dict[str, object] = {LETTERS: [one.id for one in ordered]}
        if kind == REPLAY:
            detail[DIGESTS] = [digest_of(one.to_send) for one in ordered]
        return self._actions.request(kind, _subject([one.id for one in ordered]), detail, reason, by)

    # What the actions do.

    def _needs_second(self, work: Work, action: Action) -> bool:
        return any(facts_of(one).money for one in rows.read(work.connection, _ids(action)))

    def _check_open(self, work: Work, action: Action) -> None:
        ids = _ids(action)
        letters = rows.read(work.connection, ids)
        for letter_id in ids[:1]:
            _one(letters, letter_id)
        if not any(letter.state == "open" for letter in letters):
            raise _closed(letters)

    def _check_replay(self, work: Work, action: Action) -> None:
        self._check_open(work, action)
        self._sendable(rows.read(work.connection, _ids(action)), action)

    def _replay(self, work: Work, action: Action) -> str:
        letters = rows.lock(work.connection, _ids(action))
        sendable, left = self._sendable(letters, action)
        for letter in sendable:
            work.send(replay_message(letter))
        replays = {letter.id: replay_id(letter) for letter in sendable}
        self._resolve(work, replays, "replayed", action)
        return _counted("replayed", len(replays), left)

    def _sendable(self, letters: Sequence[StoredLetter], action: Action) -> tuple[list[StoredLetter], list[str]]:
        """Those that are as they were when somebody asked, and why the others cannot go. Conflict: none can."""
        layout, wanted = self._layout(), _digests(action)
        sendable, left = [], []
        for letter in letters:
            blocked = blocked_by(layout, letter)
            if blocked is not None:
                left.append(f"{letter.id}: {blocked.en}")
            elif wanted.get(letter.id) != digest_of(letter.to_send):
                left.append(f"{letter.id}: its body was edited after this was asked for; ask again.")
            else:
                sendable.append(letter)
        if not sendable:
            why = "; ".join(left[:3]) or "there are no such letters"
            raise Conflict(f"no letter can be replayed. {why}", code="dead_letter.blocked")
        return sendable, left

    def _discard(self, work: Work, action: Action) -> str:
        letters = rows.lock(work.connection, _ids(action))
        still_open = [letter for letter in letters if letter.state == "open"]
        if not still_open:
            raise _closed(letters)
        self._resolve(work, {letter.id: "" for letter in still_open}, "discarded", action)
        closed = [f"{letter.id}: it is {letter.state} already." for letter in letters if letter.state != "open"]
        return _counted("discarded", len(still_open), closed)

    def _resolve(self, work: Work, replays: Mapping[int, str], state: str, action: Action) -> None:
        by, now = action.requested_by, self._clock.now()
        rows.resolve(work.connection, replays, state, by=by, resolution=action.reason, now=now)


def in_parts(letters: Sequence[StoredLetter], harmless_max: int, money_max: int) -> Iterator[list[StoredLetter]]:
    """Letters as actions take them: those with money apart, since one of them makes all wait for a second person."""
    for money, size in ((False, harmless_max), (True, money_max)):
        alike = [letter for letter in letters if facts_of(letter).money is money]
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def _one(found: Sequence[StoredLetter], letter_id: int) -> StoredLetter:
    for letter in found:
        if letter.id == letter_id:
            return letter
    raise NotFound("there is no such dead letter", code="dead_letter.not_found", letter=letter_id)


def _refuse_closed(letter: StoredLetter) -> None:
    if letter.state != "open":
        raise _closed([letter])


def _closed(letters: Sequence[StoredLetter]) -> Conflict:
    said = ", ".join(f"{letter.id} is {letter.state}" for letter in letters[:3]) or "there are no such letters"
    return Conflict(f"nothing open: {said}", code="dead_letter.closed")


def _subject(letter_ids: Sequence[int]) -> str:
    if len(letter_ids) == 1:
        return f"dead_letter/{letter_ids[0]}"
    return f"dead_letters/{min(letter_ids)}-{max(letter_ids)}"


def _ids(action: Action) -> list[int]:
    ids = action.detail.get(LETTERS)
    if not isinstance(ids, list) or not ids or not all(isinstance(one, int) for one in ids):
        raise InvalidMessage("the action names no letters", code="operator.invalid")
    return ids


def _digests(action: Action) -> dict[int, object]:
    digests = action.detail.get(DIGESTS)
    return dict(zip(_ids(action), digests, strict=False)) if isinstance(digests, list) else {}


def _counted(done: str, count: int, left: Sequence[str]) -> str:
    text = f"{done} {count}"
    return f"{text}; left {len(left)}: {' '.join(left[:3])}" if left else text


__all__ = ["AT_ONCE_MAX", "DISCARD", "REPLAY", "DeadLetters", "Effect", "LetterFilter", "LetterView", "in_parts"]
