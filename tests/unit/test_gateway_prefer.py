"""The Prefer header: what makes sense counts, what does not is as if it were not there."""

from __future__ import annotations

import pytest

from hub.gateway.prefer import WAIT_S_MAX, Preference, read_prefer


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Preference()),
        (["wait=5"], Preference(wait_s=5)),
        (["WAIT = 5 ; x=1"], Preference(wait_s=5)),
        (['wait="7"'], Preference(wait_s=7)),
        (["wait=0"], Preference(wait_s=0)),
        (["wait=900"], Preference(wait_s=WAIT_S_MAX)),
        (["wait=5, wait=9"], Preference(wait_s=5)),
        (["respond-async"], Preference(respond_async=True)),
        (["respond-async, wait=3"], Preference(wait_s=3, respond_async=True)),
        (["respond-async", "wait=3"], Preference(wait_s=3, respond_async=True)),
        (["wait"], Preference()),
        (["wait=-1"], Preference()),
        (["wait=1.5"], Preference()),
        (["wait=٣"], Preference()),
        (["wait=" + "9" * 5000], Preference()),
        (["return=minimal, handling=lenient"], Preference()),
    ],
)
def test_a_header_is_read(headers, expected):
    assert read_prefer(headers) == expected


def test_waiting_is_ours_to_choose_without_a_preference():
    assert Preference().wait_s_or_none is None
    assert Preference().applied == ""


def test_respond_async_waits_for_nothing():
    preference = Preference(respond_async=True)

    assert (preference.wait_s_or_none, preference.applied) == (0, "respond-async")


def test_a_wait_is_what_was_applied():
    preference = read_prefer(["respond-async, wait=99"])

    assert (preference.wait_s_or_none, preference.applied) == (WAIT_S_MAX, f"wait={WAIT_S_MAX}")
