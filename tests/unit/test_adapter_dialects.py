"""What the messages of the China Life and PICC types say, and that no answer makes their codecs stumble."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.conversation import calls_of, steps_of, transcript
from adapters.insurer.chinalife.messages import group_id
from adapters.insurer.picc.answers import Package, duplicates, package_named
from adapters.insurer.picc.messages import NUMBERS as PICC_NUMBERS
from adapters.insurer.picc.messages import Numbering, receipt_of
from adapters.registry import Adapter, make_adapter
from schemas.codes import IdentityType, InsuranceType, ItemLevel, Outcome
from schemas.errors import HubError, IllegalTransition, InvalidMessage, Malformed
from schemas.payer import Decision, MessageNumbers, Operation, PartySettings, RawAnswer
from schemas.visit import AdmissionRegister, FeesUpload, UploadedLine
from tests.support.dialect_payers import NUMBERS, a_notice, a_stay, a_stay_task, cancel_of, half_paid, inquiry_of
from tests.support.payer_tasks import a_fee, a_patient
from tests.support.samples import ADAPTERS, read_answer

CHINALIFE, PICC = "insurer.chinalife", "insurer.picc"
both = pytest.mark.parametrize("adapter", [CHINALIFE, PICC])


def made(adapter: str, **options: str) -> Adapter:
    return make_adapter(
        PartySettings(code="P", adapter=adapter, endpoint="http://127.0.0.1:9/", region="450100", options=options)
    )


def said(adapter: str, task, **options: str) -> str:
    """What a task becomes, its inner XML unescaped."""
    body = made(adapter, **options).prepare(task).body.decode()
    return body.replace("&lt;", "<").replace("&gt;", ">")


def a_claim(**changes):
    return a_stay_task("P", "X", **changes)


@both
def test_the_same_task_gives_the_same_bytes(adapter):
    assert made(adapter).prepare(a_claim()) == made(adapter).prepare(a_claim())


@both
def test_a_request_without_its_numbers_is_our_own_fault(adapter):
    with pytest.raises(IllegalTransition):
        made(adapter).prepare(a_claim(numbers=None))


@both
@pytest.mark.parametrize("option", [{"fee_lines_max": "0"}, {"fee_lines_max": "many"}, {"colour": "red"}])
def test_an_option_that_cannot_work_is_refused_by_name(adapter, option):
    with pytest.raises(ValueError, match=min(option)):
        made(adapter, **option)


@pytest.mark.parametrize(
    ("adapter", "option"),
    [
        (CHINALIFE, {"flow": "later"}),
        (CHINALIFE, {"operations": "9"}),
        (PICC, {"fees": "never"}),
        (PICC, {"reupload": "2"}),
    ],
)
def test_a_choice_that_there_is_not_is_refused(adapter, option):
    with pytest.raises(ValueError, match=min(option)):
        made(adapter, **option)


@both
def test_numbers_of_the_message_come_from_the_requests_own(adapter):
    other = said(adapter, a_claim(numbers=MessageNumbers(NUMBERS.at, NUMBERS.first + 1)))

    assert other != said(adapter, a_claim())


def test_group_and_message_numbers_tell_china_time():
    assert group_id(NUMBERS) == "20260309093000711"
    assert Numbering(NUMBERS, 3).guid("450100", "H45010000001") == "450100-20260309093000-10000001-4714"
    assert Numbering(NUMBERS).message_id == "202603090930004711"


# China Life type


def test_a_claim_leaves_the_insurers_part_open_and_tells_the_gross_scope_as_the_basic_systems():
    text = said(CHINALIFE, a_claim())

    assert "<db_compensation></db_compensation>" in text
    assert "<fit_into_yb_amount>27000.00</fit_into_yb_amount>" in text
    assert "<yb_compensation>15000.00</yb_compensation>" in text
    assert "<bus_type>1</bus_type>" in text
    assert "<outside_system_type>3</outside_system_type>" in text


def test_lines_say_whether_they_are_compliant():
    fees = (a_fee(1), a_fee(2, level=ItemLevel.PARTLY), a_fee(3, level=ItemLevel.SELF_PAID))
    request = a_stay(fees=fees)
    text = said(CHINALIFE, a_claim(request=request, basic=half_paid(request)))

    marks = [part[0] for part in text.split("<whether_compliant>")[1:]]
    assert marks == ["1", "1", "0"]
    assert "<binglei_payment>25.00</binglei_payment>" in text


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [(InsuranceType.EMPLOYEE, "4"), (InsuranceType.NRCMS, "2"), (InsuranceType.URBAN_RESIDENT, "1")],
)
def test_the_scheme_decides_the_kind_of_the_sending_system(scheme, kind):
    insurance = a_stay().insurance.model_copy(update={"type": scheme})

    text = said(CHINALIFE, a_claim(request=a_stay(insurance=insurance)))

    assert f"<outside_system_type>{kind}</outside_system_type>" in text


def test_only_an_identity_card_has_a_letter():
    passport = a_patient(id_type=IdentityType.FOREIGN_PASSPORT, id_no="E12345678")

    assert "<id_type>I</id_type>" in said(CHINALIFE, a_claim())
    assert "<id_type>08</id_type>" in said(CHINALIFE, a_claim(request=a_stay(patient=passport)))


def test_named_operations_have_names_of_their_own():
    call = made(CHINALIFE, operations="named", flow="stepwise").prepare(a_claim())

    operations = [step.body.partition("<m:")[2].partition(" ")[0] for step in steps_of(call)]
    assert operations == ["hosRegInfoService", "feeUploadService", "compensationInfoService"]


def test_a_bill_without_a_basic_adjudication_leaves_its_figures_blank():
    text = said(CHINALIFE, a_claim(basic=None))

    assert "<yb_compensation></yb_compensation>" in text
    assert "<fit_into_yb_amount></fit_into_yb_amount>" in text


def test_without_agreed_words_a_query_never_proves_that_there_is_nothing():
    expected, task, answer = read_answer(ADAPTERS / "insurer/chinalife/samples/inquiry_not_found.expected.json")

    assert expected["decision"]["outcome"] == "not_found"
    assert made(CHINALIFE).decode(task, answer).outcome is Outcome.UNKNOWN


# PICC type


def test_the_result_tells_the_compliant_fee_net_of_basic_compensation():
    text = said(PICC, a_claim())

    assert "<FeeField1>12000.00</FeeField1><FeeField2>3000.00</FeeField2>" in text
    assert "<BigDiseaseCompenFee></BigDiseaseCompenFee>" in text


def test_the_receipt_is_the_requests_own():
    assert receipt_of("A") != receipt_of("B")
    assert f"<ReceiptNum>{receipt_of(a_claim().request_id)}</ReceiptNum>" in said(PICC, a_claim())


def test_every_message_of_a_conversation_has_a_number_of_its_own():
    call = made(PICC, fee_lines_max="1").prepare(a_claim())

    guids = [step.body.partition("TransRefGUID&gt;")[2].partition("&lt;")[0] for step in steps_of(call)]
    assert len(guids) == 6
    assert len(set(guids)) == 6


def test_a_cancel_names_the_message_that_it_takes_back():
    cancel = cancel_of(a_claim(), Decision(Outcome.APPROVED, amount_fen=1, payer_reference="PJ1"))

    assert f"<CorrelationId>{Numbering(NUMBERS).message_id}</CorrelationId>" in said(PICC, cancel)


def test_a_claim_without_a_basic_adjudication_cannot_be_told():
    with pytest.raises(InvalidMessage):
        made(PICC).prepare(a_claim(basic=None))


def test_more_packages_than_numbers_are_refused_before_they_leave():
    request = a_stay(lines=PICC_NUMBERS)

    with pytest.raises(InvalidMessage):
        made(PICC, fee_lines_max="1").prepare(a_claim(request=request, basic=half_paid(request)))


def test_a_refund_is_a_negative_transaction_of_positive_amounts():
    line = UploadedLine(**dict(a_fee(1)) | {"quantity": Decimal(-2), "amount": -25_00, "refunds": "L0"})
    upload = FeesUpload(institution="H45010000001", request_no="1", visit_no="V", batch_no="1", lines=(line,))

    (step,) = steps_of(made(PICC).prepare_notice(a_notice("fees.upload", "P", upload)))

    text = step.body.replace("&lt;", "<").replace("&gt;", ">")
    assert "<TransactionType>-1</TransactionType>" in text
    assert "<Quantity>2</Quantity><Amount>25.00</Amount>" in text
    assert package_named(step.name, "P").fen == -25_00


@both
def test_lines_by_notice_say_whose_they_are_where_the_admission_is_known(adapter):
    stay = a_stay(region="450900")
    who = {"institution": stay.institution, "request_no": "1", "visit_no": "V"}
    upload = FeesUpload(**who, batch_no="1", lines=(UploadedLine(**dict(a_fee(1))),))
    register = AdmissionRegister(
        **who,
        region=stay.region,
        patient=stay.patient,
        insurance=stay.insurance,
        kind=stay.visit.kind,
        medical_type=stay.visit.medical_type,
        admitted_at=stay.visit.started_at,
    )

    (step,) = steps_of(made(adapter).prepare_notice(a_notice("fees.upload", "P", upload, admission=register)))

    assert "450900" in step.body
    assert (stay.patient.id_no in step.body) is (adapter == CHINALIFE)


def test_duplicates_are_ours_only_when_they_name_our_receipt():
    ours, theirs = "A" * 20, "B" * 20

    text = f"好|450100,V,X,{ours}-L\n1|450100,V,X,{theirs}-L1|no comma here {ours}-L2|"

    assert duplicates(text, ours) == {f"{ours}-L1"}


def test_a_package_is_known_by_the_name_of_its_step():
    package = Package(3, 100, -12_34, "0123456789ABCDEF0123")

    assert package_named(package.name, "P") == package
    for name in ("H213", "H210", "H213/1/2/x/y", ""):
        with pytest.raises(Malformed):
            package_named(name, "P")


# rubbish

WORDS = st.sampled_from(
    ["", "0", "1", "-1", "2", "0.00", "9999999999999", "-5", "1.005", "NaN", "x", "保", "a,b|c", "2026-03-09", "I" * 99]
)


@given(
    values=st.dictionaries(
        st.sampled_from(
            [
                "status",
                "msg",
                "settlement_number",
                "db_compensation",
                "case_number",
                "total_payment",
                "nonreal_time_reason",
                "whether_ignore",
                "fit_into_db_amount",
            ]
        ),
        WORDS,
    ),
    ask=st.sampled_from(["settle", "inquire", "cancel"]),
)
def test_no_answer_makes_the_china_life_codec_stumble_or_pay_too_much(values, ask):
    claim = a_claim()
    undo = replace(inquiry_of(claim), operation=Operation.CANCEL)
    task = {"settle": claim, "inquire": inquiry_of(claim), "cancel": undo}[ask]
    code = {"settle": "100018", "inquire": "100015", "cancel": "100014"}[ask]
    ours = {"settlement_number": claim.request_id, "status": "1", "case_number": "C1", "db_compensation": "1.00"}
    fields = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in (ours | values).items())
    head = f"<group_id>{group_id(task.numbers)}</group_id><bus_code>{code}</bus_code>"
    inner = f"<root><head>{head}</head><body><out>{fields}</out></body></root>"
    answer = soap("excute", "return", inner)

    with suppress(HubError):
        decision = made(CHINALIFE).decode(task, answer)
        assert decision.amount_fen <= task.left_fen


@given(
    values=st.dictionaries(
        st.sampled_from(
            [
                "SuccessFlag",
                "Description",
                "BigDiseaseCompenFee",
                "ReserveField1",
                "TotalNoCalculateDetail",
                "ReceiptNum",
            ]
        ),
        WORDS,
    )
)
def test_no_answer_makes_the_picc_codec_stumble_or_pay_too_much(values):
    task = a_claim()
    guid = Numbering(task.numbers).guid(task.request.region, task.request.institution)
    fields = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in ({"SuccessFlag": "1"} | values).items())
    head = f"<TransRefGUID>{guid}</TransRefGUID><TransactionCode>H210</TransactionCode>"
    answer = soap("transBusinessForPICC", "return", f"<r><head>{head}</head><body>{fields}</body></r>")
    recorded = read_answer(ADAPTERS / "insurer/picc/samples/settle_approved.expected.json")[2]
    last = replace(calls_of(recorded)[-1], answer=answer.body)

    with suppress(HubError):
        decision = made(PICC).decode(task, transcript([last]))
        assert decision.amount_fen <= task.left_fen


@both
@given(raw=st.binary(max_size=200), transcribed=st.booleans())
def test_rubbish_is_no_decision(adapter, raw, transcribed):
    kind = "application/vnd.settlement-hub.transcript+json" if transcribed else "text/xml"
    for task in (a_claim(), replace(inquiry_of(a_claim()), operation=Operation.CANCEL)):
        with pytest.raises(HubError):
            made(adapter, **({"flow": "stepwise"} if adapter == CHINALIFE else {})).decode(
                task, RawAnswer(raw, 200, kind)
            )


def soap(operation: str, returned: str, inner: str) -> RawAnswer:
    body = f'<o:{operation}Response xmlns:o="urn:o"><{returned}>{escape(inner)}</{returned}></o:{operation}Response>'
    envelope = f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{body}</e:Body></e:Envelope>'
    return RawAnswer(envelope.encode(), 200, "text/xml;charset=UTF-8")
