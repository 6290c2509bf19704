"""What people read, in Chinese and English, by code. Plain words: what happened and what to do next."""

from __future__ import annotations

from schemas.base import Bilingual
from schemas.codes import CaseStatus, ShareState

CASE_MESSAGES: dict[CaseStatus, Bilingual] = {
    CaseStatus.PROCESSING: Bilingual(
        zh="结算处理中，结果将另行通知；请勿重复提交，可先收取押金。",
        en="The settlement is still being processed; the final word follows. Do not submit it again; take a deposit.",
    ),
    CaseStatus.SETTLED: Bilingual(zh="结算成功，请收取个人现金部分。", en="Settled. Collect the cash part."),
    CaseStatus.PARTLY_SETTLED: Bilingual(
        zh="部分结算成功，其余转非即时赔付；请收取个人现金部分，并告知患者后续步骤。",
        en="Settled in part; the rest goes on as a non-instant claim. Collect the cash part and explain what follows.",
    ),
    CaseStatus.DECLINED: Bilingual(
        zh="未能结算，未记任何支付；请按自费收取，或处理原因后以新结算号重新提交。",
        en="Not settled, nothing was booked. Collect the whole bill, or mend the reason and submit under a new number.",
    ),
    CaseStatus.CANCELLING: Bilingual(zh="撤销处理中。", en="The cancellation is being carried out."),
    CaseStatus.CANCELLED: Bilingual(
        zh="已撤销，各方支付均已冲回。", en="Cancelled. Every payer has taken its part back."
    ),
    CaseStatus.TRIAL: Bilingual(zh="试算完成，未产生支付。", en="Trial only: nothing was booked."),
}

REASONS: dict[str, Bilingual] = {
    "nothing_left": Bilingual(zh="前序支付方已付清", en="the payers before it left nothing"),
    "basic_not_settled": Bilingual(zh="基本医保未结算", en="basic insurance did not settle"),
    "earlier_payer_undecided": Bilingual(
        zh="前序支付方未决定，无法计算", en="a payer before it has not decided, so its part cannot be computed"
    ),
    "time_up": Bilingual(zh="已到答复时限，未发送", en="the time for an instant answer was up before it was asked"),
    "not_reachable": Bilingual(zh="支付方系统无法连接，未发送", en="its system could not be reached; nothing was sent"),
    "not_expressible": Bilingual(
        zh="该支付方接口无法表达本案内容，未发送", en="its interface cannot express this case; nothing was sent"
    ),
    "answer_lost": Bilingual(
        zh="已发送，未收到答复，正在核实", en="asked, but no answer came back; it is being checked"
    ),
    "adjudicated_by_basic": Bilingual(
        zh="由基本医保系统一并核算", en="adjudicated by the basic insurance system itself"
    ),
    "awaiting_answer": Bilingual(zh="已发送，等待答复", en="asked and not yet answered"),
    "answer_held": Bilingual(zh="答复金额不符，已转人工核对", en="its answer does not add up and is with our staff"),
    "cancel_refused": Bilingual(
        zh="撤销被拒，已转人工处理", en="it refused the cancellation; our staff will follow up"
    ),
    "cancelled": Bilingual(zh="案件已撤销", en="the case was cancelled"),
    "payer_down": Bilingual(zh="支付方系统当前不可用，未发送", en="its system is down at the moment; nothing was sent"),
    "payer_stopped": Bilingual(
        zh="该支付方已由运维暂停，未发送", en="our operators have stopped calls to it; nothing was sent"
    ),
    "not_received": Bilingual(zh="经核实支付方未收到该请求", en="it was asked again and never received the request"),
    "undone": Bilingual(zh="结果不明，已冲回", en="its outcome was not clear and is undone"),
    "late_reversed": Bilingual(
        zh="答复超过时限，已按约定冲回", en="its approval came too late and is taken back as agreed"
    ),
    "cannot_be_undone": Bilingual(
        zh="支付方接口不支持撤销，已转人工处理", en="its interface cannot undo this; our staff will follow up"
    ),
}

NEXT_STEPS: dict[ShareState, Bilingual] = {
    ShareState.DEFERRED: Bilingual(
        zh="请患者先行支付该部分，凭结算单向该保险公司申请理赔。",
        en="The patient pays this part now and claims it from the insurer with the settlement sheet.",
    ),
    ShareState.IN_DOUBT: Bilingual(
        zh="请患者先行支付该部分；核实后如已赔付，将通知退款。",
        en="The patient pays this part now; if the insurer turns out to have paid, a refund notice follows.",
    ),
    ShareState.CANCELLED: Bilingual(
        zh="该部分未由保险支付；可凭结算单自行申请理赔。",
        en="The insurer bears nothing of this part; the patient may claim it with the settlement sheet.",
    ),
    ShareState.PENDING: Bilingual(
        zh="请患者先行支付该部分；答复到达后将通知退款。",
        en="The patient pays this part now; a refund notice follows when the answer arrives.",
    ),
    ShareState.HELD: Bilingual(
        zh="请患者先行支付该部分；核对完成后将通知结果。",
        en="The patient pays this part now; the result follows when our staff have checked it.",
    ),
}

ERRORS: dict[str, Bilingual] = {
    "message.malformed": Bilingual(zh="报文格式错误，无法读取。", en="The message cannot be read."),
    "message.too_large": Bilingual(zh="报文超过大小限制。", en="The message is too large."),
    "message.invalid": Bilingual(zh="报文内容不符合要求。", en="The message breaks its schema."),
    "message.duplicate_key": Bilingual(zh="报文含重复字段。", en="The message holds a key twice."),
    "message.content_type": Bilingual(
        zh="请以 application/json（UTF-8）发送。", en="Send it as application/json in UTF-8."
    ),
    "message.idempotency_key": Bilingual(
        zh="请求头 Idempotency-Key 缺失或无法使用。", en="The Idempotency-Key header is needed."
    ),
    "upload.refused": Bilingual(
        zh="上传未生效：存在错误的行，请按所列逐行更正后重新提交。",
        en="The upload is not in force: mend the rows that are listed and send it again.",
    ),
    "statement.content_type": Bilingual(
        zh="请以 CSV、Excel（.xlsx）或国家接口的 zip 文件发送。", en="Send it as CSV, .xlsx or the national zip."
    ),
    "statement.refused": Bilingual(
        zh="对账单未收下：请按所列更正后整份重新发送。",
        en="The statement is not taken: mend what is listed and send the whole of it again.",
    ),
    "statement.signed_off": Bilingual(
        zh="该日对账已签结，对账单不再变更。", en="The day is signed off; its statement stays what it is."
    ),
    "master.refused": Bilingual(
        zh="与主数据不符：请按所列逐项维护对码、目录、疾病或医师编码后重新提交。",
        en="The bill does not agree with the master data: mend what is listed and send it again.",
    ),
    "blacklist.refused": Bilingual(
        zh="该人员、机构或医师在黑名单内，不予结算。",
        en="The person, the institution or the doctor is on the blacklist: nothing can be settled.",
    ),
    "query.invalid": Bilingual(zh="查询参数有误。", en="A query parameter is wrong."),
    "mailbox.use_queue": Bilingual(zh="请从消息队列收取，不使用信箱。", en="There is no mailbox beside a queue."),
    "mailbox.none": Bilingual(zh="该机构没有信箱。", en="This party has no mailbox."),
    "transaction.unknown": Bilingual(zh="没有此交易名称。", en="This party has no such transaction."),
    "message.id_reused": Bilingual(
        zh="该报文编号已用于其他报文，请换用新的编号。",
        en="This message id was used for another message; use a new one.",
    ),
    "routing.no_basic_payer": Bilingual(
        zh="未找到负责的基本医保系统。", en="No basic insurance system is responsible."
    ),
    "case.conflict": Bilingual(
        zh="同一结算号已有不同内容的请求。", en="This settlement number is already used with other content."
    ),
    "settlement.reversed_before": Bilingual(
        zh="该结算号此前已被冲正，本次未记任何支付；如需结算请换用新结算号。",
        en="This settlement was reversed before it came: nothing was booked. Settle under a new number.",
    ),
    "case.in_flight": Bilingual(zh="该结算正在处理中。", en="This settlement is still being processed."),
    "case.not_found": Bilingual(zh="未找到该结算。", en="There is no such settlement."),
    "party.forbidden": Bilingual(zh="无权操作。", en="This party may not do this."),
    "party.unknown": Bilingual(zh="机构未登记。", en="This institution is not registered."),
    "party.unauthenticated": Bilingual(zh="身份未通过验证。", en="The sender could not be identified."),
    "operator.invalid": Bilingual(zh="操作员请求有误。", en="The operator's request is wrong."),
    "action.own": Bilingual(zh="须由另一位操作员批准。", en="Another operator must approve it."),
    "action.waiting": Bilingual(zh="相同操作已在等待批准。", en="The same action waits for approval already."),
    "action.decided": Bilingual(zh="该操作已有结果。", en="This action has its end already."),
    "action.not_found": Bilingual(zh="没有此操作。", en="There is no such action."),
    "recon.not_found": Bilingual(zh="没有此日期。", en="There is no such day."),
    "recon.scheme": Bilingual(zh="没有此对账方案。", en="There is no such party or scheme of reconciliation."),
    "recon.running": Bilingual(zh="正在对账，请稍候。", en="These books are being compared at this moment."),
    "recon.signed_off": Bilingual(
        zh="该日对账已签字，之后的差异记入后一日。", en="It is signed off: corrections are entries of a later day."
    ),
    "recon.day_to_come": Bilingual(zh="该日尚未开始。", en="This day has not begun."),
    "recon.not_ready": Bilingual(zh="尚有未了事项，不能签字或封账。", en="Something stands in the way of closing it."),
    "run.not_found": Bilingual(zh="没有此次对账。", en="There is no such run."),
    "run.state": Bilingual(zh="该次对账的状态不允许此操作。", en="The run's breaks are not to be touched."),
    "break.not_found": Bilingual(zh="没有此差异。", en="There is no such break."),
    "break.undecided": Bilingual(
        zh="没有可自动处理的差异，须由人工决定。", en="What is left must be decided by people."
    ),
    "break.nothing_done": Bilingual(zh="没有一项差异能够处理。", en="None of it could be done."),
    "dead_letter.not_found": Bilingual(zh="没有此死信。", en="There is no such dead letter."),
    "dead_letter.closed": Bilingual(zh="死信已处理。", en="The dead letter is not open any more."),
    "dead_letter.blocked": Bilingual(zh="死信无法重放。", en="The dead letter cannot be replayed."),
    "rate.exceeded": Bilingual(zh="请求过于频繁，请稍后重试。", en="Too many requests: slow down and send it again."),
    "outcome.unknown": Bilingual(
        zh="结果尚未确定，请用同一编号查询，切勿更换编号重发。",
        en="The outcome is not known yet: query under the same number, never send it under a new one.",
    ),
    "service.unavailable": Bilingual(
        zh="服务暂不可用，请稍后以同一编号重试。", en="Try again shortly with the same number."
    ),
    "hub.error": Bilingual(
        zh="系统内部错误，已记录；请用同一编号查询。",
        en="An internal error was recorded; query under the same number.",
    ),
    "soap.content_type": Bilingual(
        zh="请以 text/xml 或 application/soap+xml 发送单个 SOAP 报文，不带附件、不压缩。",
        en="Send one SOAP message as text/xml or application/soap+xml, without attachments or compression.",
    ),
    "soap.version": Bilingual(
        zh="报文不是内容类型所示版本的 SOAP 信封。", en="Send an envelope of the SOAP version of the content type."
    ),
    "soap.envelope": Bilingual(zh="SOAP 信封结构有误。", en="The SOAP envelope is not built as it should be."),
    "soap.body": Bilingual(
        zh="SOAP Body 内须且仅须有一个报文。", en="The SOAP body holds one message, no more, no less."
    ),
    "soap.action": Bilingual(zh="SOAPAction 与报文不一致。", en="The action and the message disagree."),
    "soap.header": Bilingual(zh="SOAP 头部有误。", en="The SOAP header cannot be used."),
    "soap.must_understand": Bilingual(
        zh="SOAP 头部含须理解而本服务不支持的内容。",
        en="The SOAP header asks for something that this service does not do.",
    ),
    "soap.message_id": Bilingual(zh="SOAP 头部 MessageId 无法使用。", en="The MessageId header block cannot be used."),
    "soap.security": Bilingual(
        zh="WS-Security 仅支持一个 UsernameToken（可附 Timestamp）。",
        en="Of WS-Security only a UsernameToken is understood.",
    ),
    "soap.encoding_style": Bilingual(
        zh="请使用 document/literal，不使用 encodingStyle。", en="Use document/literal without an encoding style."
    ),
    "visits.not_kept": Bilingual(
        zh="平台未为本机构保存就诊登记，请联系平台开通。", en="The hub keeps no visits of this institution."
    ),
    "visit.exists": Bilingual(
        zh="该就诊号已登记，请勿重复登记。", en="A visit with this number is registered already."
    ),
    "visit.not_found": Bilingual(zh="未找到该就诊登记。", en="There is no visit under this number."),
    "visit.missing": Bilingual(zh="该就诊号尚未登记，请先登记。", en="Register the visit first."),
    "visit.admitted": Bilingual(zh="患者尚未办理出院，请先办理出院。", en="Register the discharge first."),
    "visit.discharged": Bilingual(zh="患者已办理出院，请先撤销出院。", en="Cancel the discharge first."),
    "visit.cancelled": Bilingual(zh="该就诊登记已撤销，请重新登记。", en="Register the visit again."),
    "visit.settled": Bilingual(zh="该次就诊已结算，请先撤销结算。", en="Cancel the visit's settlement first."),
    "visit.has_fees": Bilingual(zh="尚有费用明细，请先撤销费用明细。", en="Cancel the fee lines first."),
    "visit.no_fees": Bilingual(zh="没有费用明细，请先上传费用明细。", en="Upload the fee lines first."),
    "visit.kind": Bilingual(zh="结算类别与就诊登记不一致。", en="The visit was registered as another kind."),
    "visit.person": Bilingual(zh="患者与就诊登记不一致。", en="The visit was registered for another person."),
    "visit.total_differs": Bilingual(
        zh="总费用与已上传费用明细之和不一致，请补传、撤销或更正。",
        en="The bill differs from the sum of the uploaded lines.",
    ),
    "request.reused": Bilingual(
        zh="该报文编号已用于其他内容，请换用新的编号。", en="This request number was used for another content."
    ),
    "line.not_found": Bilingual(zh="没有该费用明细，或已撤销。", en="No such fee line stands."),
    "claim.unsealed": Bilingual(
        zh="所申报期间尚有未封账的日期，请待封账后再申报。", en="Apply when every day of the period is sealed."
    ),
    "claim.exists": Bilingual(
        zh="该期间已申报，请先撤销原申报。", en="It is applied for already: take the claim back first."
    ),
    "claim.overlaps": Bilingual(
        zh="该期间的部分结算已在其他申报中，请先撤销该申报。",
        en="Another claim holds some of it: take that back first.",
    ),
    "claim.state": Bilingual(zh="该申报的审核状态不允许此操作。", en="The claim is past that."),
    "claim.not_found": Bilingual(zh="没有该申报。", en="There is no such claim."),
    "payment.amount": Bilingual(
        zh="确认金额与付款单金额不一致，请核对；如确属不符，请联系平台撤销付款单。",
        en="The amount is not the one that was ordered.",
    ),
    "payment.parties": Bilingual(zh="该付款单的收付双方与报文不一致。", en="The payment is between others."),
    "payment.sent": Bilingual(zh="该付款单已写入付款文件。", en="A payment file carries the order by now."),
    "payment.void": Bilingual(zh="该付款单已撤销。", en="The order was taken back."),
    "payment.confirmed": Bilingual(zh="该笔付款已确认。", en="This payment is confirmed already."),
    "party.shut_out": Bilingual(zh="该机构已被平台停用，请联系平台。", en="The party is disabled: ask the operators."),
    "http.malformed": Bilingual(zh="HTTP 请求格式错误。", en="The HTTP request cannot be read."),
    "http.no_such_path": Bilingual(
        zh="没有此地址，请对照 /openapi.json。", en="There is no such address; see /openapi.json."
    ),
    "http.method_not_allowed": Bilingual(
        zh="此地址不支持该方法。", en="This address does not take that method; see Allow."
    ),
    "http.too_slow": Bilingual(zh="报文传输过慢，请重新发送。", en="The body came too slowly; send it again."),
}


def reason_text(code: str) -> Bilingual | None:
    """The sentence for one of the hub's own reason codes; None for a payer's code."""
    return REASONS.get(code)
