"""A partner that breaks one promise fails the checks on that promise, and no others."""

from __future__ import annotations

import pytest

from hub.certify.checks import CHECKS, Verdict
from hub.certify.run import BOOKS_AT_ZERO, LEFT_NOTHING, Report
from tests.support import certifying as partners
from tests.support.certifying import certified

MUTANTS = {
    partners.BooksRepeatsAgain: {"books.zero"},
    partners.NewReferenceOnRepeat: {"repeat.same_answer", "repeat.at_once"},
    partners.RefusesRepeats: {
        "repeat.same_answer",
        "repeat.at_once",
        "lost.answer_resolved",
        "wrong.answer_ignored",
    },
    partners.AcceptsOtherContent: {"repeat.other_content"},
    partners.IgnoresTombstones: {"reversal.tombstone"},
    partners.CancelsAnotherAmount: {
        "cancel.mirrors",
        "cancel.twice",
        "cancel.other_amount",
        "statement.as_answered",
    },
    partners.CancelsInWordsOnly: {"undo.stays_undone", "books.zero", "statement.as_answered"},
    partners.RefusesTheSecondCancel: {"cancel.twice"},
    partners.CancelsWhateverAmount: {"cancel.other_amount"},
    partners.CancelsWhatNeverWas: {"cancel.unknown"},
    partners.ReversesForNothing: {"reversal.takes_back"},
    partners.RefusesTheSecondReversal: {"reversal.twice"},
    partners.RefusesToReverseNothing: {"reversal.of_nothing", "reversal.tombstone"},
    partners.InquiryNamesAnotherAmount: {"inquiry.stands"},
    partners.StatesAnotherAmount: {"statement.as_answered"},
    partners.HasNoPageForTheUnknown: {"inquiry.not_found", "trial.leaves_nothing"},
    partners.InquiryBars: {"inquiry.no_effect"},
    partners.TrialBooks: {"trial.leaves_nothing", "books.zero"},
    partners.TrialPromisesMore: {"settle.as_tried"},
    partners.SellsEverything: {"refuse.unknown_product"},
    partners.TakesNegativeBills: {"refuse.bad_amount"},
    partners.TakesBillsWithoutTotal: {"refuse.missing_field"},
    partners.FallsOverBadBills: {"refuse.bad_amount", "refuse.missing_field"},
    partners.BooksMoreThanItSays: {"books.as_answered", "statement.as_answered"},
    partners.DeclinesTrials: {"trial.adjudicates", "settle.as_tried"},
    partners.ApprovesNothing: {"trial.adjudicates", "settle.approves", "cancel.other_amount"},
    partners.UsesUpWhatWasCancelled: {"settle.again_after_cancel"},
    partners.HangsAfterABadBill: {"answer.in_time"},
    partners.ForgetsAfterSilence: {"silence.not_guessed"},
    partners.LiesWithinTheBill: {"wrong.amount_held"},
    partners.RefusesRepeatedNotices: {"notice.visit", "notice.record"},
}


def failed(report: Report) -> set[str]:
    return {result.id for result in report.results if result.verdict is Verdict.FAILED}


def test_a_partner_that_keeps_its_promises_is_certified():
    report = certified()

    assert failed(report) == set()
    assert report.ok
    assert {result.id for result in report.results} == {
        *(one.id for one in CHECKS),
        LEFT_NOTHING.id,
        BOOKS_AT_ZERO.id,
    }
    assert report.count(Verdict.NOT_APPLICABLE) == 0


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_promise_fails_its_own_checks(mutant):
    report = certified(mutant)

    assert failed(report) == MUTANTS[mutant]
    assert not report.ok
    assert report.left == ()


def test_every_check_is_failed_by_somebody():
    assert {one.id for one in (*CHECKS, BOOKS_AT_ZERO)} == set().union(*MUTANTS.values())


def test_what_cannot_be_taken_back_is_named():
    report = certified(partners.NeverUndoes)

    assert "cleanup.all_undone" in failed(report)
    assert {left.standing for left in report.left} == {"stands"}
    assert all(left.settlement_no.startswith("CERT-") for left in report.left)
