"""The switches of one region: what the rule book's `options` say about it. README.md names them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crypto import sm2, sm4
from schemas.national.identities import Switches
from schemas.payer import PartySettings

NUMBERS = 128
"""Message numbers per request: 100 chunks of fee lines, and the steps around them."""
FEE_LINES_MIN, FEE_LINES_MAX = 20, 1000
_SIGNINGS = ("none", "envelope", "body", "gateway")
_TEXTS = {
    "recer_sys_code": "01",
    "infver": "V1.0",
    "opter_type": "1",
    "opter": "HUB",
    "opter_name": "结算平台",
    "psn_setlway": "01",
    "dept_code": "",
    "caty": "",
    "doctor_code": "",
    "bed": "0",
    "path": "",
    "token_path": "",
    "paas_id": "",
    "mac": "00-00-00-00-00-00",
    "ip": "127.0.0.1",
}
_FLAGS = (
    "sign_in",
    "confirm_person",
    "fee_classes",
    "queries",
    "repeats_harmless",
    "reversal_proves",
    "fund_includes_account",
    "account_row_in_detail",
    "skip_empty",
    "statements",
)
_WORDS = {
    "not_signed_in": "未签到|重新签到|签到失效|签到编号无效",
    "token_expired": "Token expired|token expired|令牌过期",
    "doubtful": "处理中|正在结算|重复|已结算|超时|系统繁忙",
    "already_undone": "已撤销|已冲正|已退费",
    "already_done": "已办理出院|已出院|已登记",
    "nothing_left": "未办理出院|无可撤销|未找到就诊",
    "extra_money": "",
    "statement_kinds": "99",
    "balanced": "0|000000",
}


@dataclass(frozen=True, slots=True)
class Region:
    """See README.md for what each switch does."""

    party: str
    region: str
    texts: Mapping[str, str]
    flags: frozenset[str]
    words: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]
    """Names of institutions by code."""
    signing: str = "none"
    sm2_form: sm2.Form | None = None
    sm4_mode: sm4.Mode = sm4.Mode.ECB
    sign_in_s: int = 3600
    fee_lines_max: int = 100
    visits_told: bool = False
    """Visits come by notices; otherwise a settlement makes its own."""
    switches: Switches = field(default_factory=Switches)

    def yes(self, flag: str) -> bool:
        """Whether a switch is on."""
        return flag in self.flags

    def says(self, kind: str, text: str) -> bool:
        """Whether a text of the region holds one of its known words."""
        return any(word in text for word in self.words[kind])


def region_of(settings: PartySettings) -> Region:
    """The region that a party's options describe; ValueError naming party and option otherwise."""
    options = dict(settings.options)
    choice, count = _Chooser(settings.code, options), _Counter(settings.code, options)
    form = choice("sm2_form", "", ("", "raw", "der"))
    flags = {name for name in _FLAGS if choice(name, "yes" if name == "queries" else "no", ("yes", "no")) == "yes"}
    switches = Switches(
        count("tolerance_fen", 0, 0, 10_000), "fund_includes_account" in flags, "account_row_in_detail" in flags
    )
    made = Region(
        party=settings.code,
        region=settings.region,
        texts={name: options.pop(name, text) for name, text in _TEXTS.items()},
        flags=frozenset(flags),
        words={name: _words(options.pop(name, words)) for name, words in _WORDS.items()},
        names={name.partition(".")[2]: options.pop(name) for name in [*options] if name.startswith("name.")},
        signing=choice("signing", "none", _SIGNINGS),
        sm2_form=sm2.Form(form) if form else None,
        sm4_mode=sm4.Mode(choice("sm4_mode", "ecb", tuple(mode.value for mode in sm4.Mode))),
        sign_in_s=count("sign_in_s", 3600, 60, 86_400),
        fee_lines_max=count("fee_lines_max", 100, FEE_LINES_MIN, FEE_LINES_MAX),
        visits_told=choice("visits", "own", ("own", "told")) == "told",
        switches=switches,
    )
    if options:
        raise ValueError(f"party {settings.code}: unknown option {min(options)}; the adapter's README names them all")
    return made


class _Chooser:
    def __init__(self, party: str, options: dict[str, str]) -> None:
        self._party, self._options = party, options

    def __call__(self, name: str, default: str, known: tuple[str, ...]) -> str:
        value = self._options.pop(name, default)
        if value not in known:
            raise ValueError(f"party {self._party}: option {name} must be one of {', '.join(filter(None, known))}")
        return value


class _Counter:
    def __init__(self, party: str, options: dict[str, str]) -> None:
        self._party, self._options = party, options

    def __call__(self, name: str, default: int, low: int, high: int) -> int:
        value = self._options.pop(name, str(default))
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise ValueError(f"party {self._party}: option {name} must be a number from {low} to {high}")
        return int(value)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(" ", "|" if "|" not in text else " ").split("|") if word)
