"""Refusals in the words of the national interface: Chinese, the field by its national name, and what to do."""

from __future__ import annotations

import re

from adapters.hospital.problems import error_answer
from schemas.errors import HubError, InvalidMessage, OutcomeUnknown, Violation

SHOWN_MAX = 5
TEXT_MAX = 200
WORDS: dict[str, str] = {
    "national.missing": "请填写该字段",
    "national.length": "文本过长，请按规范长度填写",
    "national.text": "请以文本填写",
    "national.number": "请填写规定位数的数字",
    "national.money": "金额单位为元，最多两位小数",
    "national.moment": "时间格式为 yyyy-MM-dd HH:mm:ss，日期为 yyyy-MM-dd",
    "national.node": "该节点须为一个对象",
    "national.msgid": "须为定点机构编号(12)+yyyyMMddHHmmss(14)+顺序号(4)",
    "national.institution": "与发送方身份不一致，请填写本机构编号",
    "national.region": "涉及参保人的交易须填写参保地区划（由1101返回）",
    "national.size": "input 超过长度上限，请分批上传",
    "national.encrypted": "本机构未约定加密或密钥不符，请核对 enc_type 与密钥",
    "national.payload": "input 须为 JSON 对象",
    "national.infno": "不支持该交易编号",
    "national.sign_no": "未签到或签到已失效，请先以9001签到",
    "national.person": "请先以1101获取人员信息，再办理该业务",
    "national.person_differs": "凭证号码与该人员编号登记的证件不符",
    "national.certificate": "请提供 certno、psn_cert_type 与 psn_name，或以身份证(02)办理",
    "national.insured": "该人员未参加此险种，请按1101返回的 insutype 选择",
    "national.mdtrt_id": "未找到该就诊登记，请核对 mdtrt_id",
    "national.psn_no": "与该就诊登记的人员编号不一致",
    "national.ipt_otp_no": "与该就诊登记的就诊号不一致",
    "national.setl_id": "未找到该结算，请核对 setl_id",
    "national.total": "与已上传且未结算的费用合计不符，请补传、撤销或更正费用明细",
    "national.batch": "一次上传只含一个收费批次；结算的批次须已上传明细",
    "national.settled": "该批次已结算，请先撤销原结算",
    "national.refund": "退费明细找不到可冲减的原明细，请以 init_feedetl_sn 指明",
    "national.mid_settlement": "暂不支持中途结算，请在出院后结算",
    "national.diagnosis": "缺少诊断，请先上传诊断信息（2203 或 diseinfo）",
    "national.omsgid": "与原交易不符，请核对 omsgid 与 oinfno",
    "national.not_reversible": "该交易不支持冲正；可冲正：2102、2207、2304、2401。撤销类交易请以原 msgid 重发",
    "national.file": "文件不可用：须为已上传、未过期的 zip（UTF-8、TAB 分隔）",
    "national.file_totals": "文件合计与报文合计不一致，请核对",
    "national.period": "开始日期不得晚于结束日期",
    "national.month": "清算期间须在同一月份内，且与 setlym 一致",
    "national.med_type": "医疗类别不适用于此类就诊",
    "national.code": "请使用代码表中的代码",
    "national.clock": "inf_time 与当前时间相差过大，请校准系统时钟后重发",
}
_SAID: dict[str, str] = {
    "national.keys": "本机构的签名密钥未配置或不可用，请联系平台",
    "national.person_unknown": "未查到该人员的参保信息，请与证件核对",
    "party.unauthenticated": "身份未通过验证：令牌或签名缺失、错误或过期",
    "message.content_type": "请以 application/json（UTF-8）发送",
}
_NAMES: dict[str, str] = {
    "patient": "psn",
    "id_no": "certno",
    "id_type": "psn_cert_type",
    "birth_date": "brdy",
    "person_no": "psn_no",
    "insurance": "insutype",
    "visit_no": "ipt_otp_no",
    "medical_type": "med_type",
    "started_at": "begntime",
    "admitted_at": "begntime",
    "ended_at": "endtime",
    "discharged_at": "endtime",
    "diagnoses": "diseinfo",
    "fees": "feedetail",
    "lines": "feedetail",
    "line_no": "feedetl_sn",
    "item_code": "med_list_codg",
    "item_name": "medins_list_name",
    "local_code": "medins_list_codg",
    "local_name": "medins_list_name",
    "price": "pric",
    "quantity": "cnt",
    "amount": "det_item_fee_sumamt",
    "occurred_on": "fee_ocur_time",
    "refunds": "init_feedetl_sn",
    "batch_no": "chrg_bchno",
    "total": "medfee_sumamt",
    "settlement_no": "msgid",
    "request_no": "msgid",
    "cancel_no": "msgid",
    "reverse_no": "msgid",
    "institution": "fixmedins_code",
    "rows": "catalogcompin",
    "doctor_code": "atddr_no",
    "bed": "adm_bed",
    "department": "dept_name",
    "way": "dscg_way",
    "died_on": "die_date",
    "count": "fixmedins_setl_cnt",
    "valid_from": "begndate",
    "valid_until": "enddate",
}


class Spoken(HubError):
    """A refusal with a sentence of its own. It is a final no: nothing stands."""

    code = "national.refused"

    def __init__(self, zh: str) -> None:
        super().__init__("refused in the sender's words")
        self.zh = zh


class NotKnown(OutcomeUnknown):
    """Neither yes nor no can be said yet: said again under the same number, the message finds its outcome."""

    def __init__(self, zh: str) -> None:
        super().__init__("the outcome is not known yet")
        self.zh = zh


_STEP = re.compile(r"[^.\[\]]+")


def refusal_text(error: HubError) -> str:
    """One sentence per thing that is wrong, at most 200 characters; nothing that was received is repeated."""
    if isinstance(error, Spoken | NotKnown):
        return _cut(error.zh)
    violations = error.violations if isinstance(error, InvalidMessage) else ()
    said = error_answer(error)
    if error.code in _SAID:
        return _SAID[error.code]
    if not violations:
        return _cut(said.message.zh)
    shown = list(zip(violations, said.violations, strict=True))[:SHOWN_MAX]
    parts = [f"{_field(violation)}：{WORDS.get(violation.code) or words['remedy_zh']}" for violation, words in shown]
    count = f"共{len(violations)}处有误，其中 " if len(violations) > SHOWN_MAX else ""
    return _cut(count + "；".join(parts))


def _field(violation: Violation) -> str:
    return _STEP.sub(lambda step: _NAMES.get(step[0], step[0]), violation.field)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
