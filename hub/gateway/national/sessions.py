"""9001 and 9002: an operator's sign-in, by policy of the institution."""

from __future__ import annotations

import secrets
from datetime import timedelta

from hub.gateway.national.calls import Call, Reply, Services, wrong
from store import sign_ins
from store.sign_ins import SignIn

_NUMBER_BYTES = 15


async def sign_in(call: Call, services: Services) -> Reply:
    """9001: a number that is good for the time of the settings."""
    facts = call.content["signIn"]
    new = SignIn(
        sign_no=secrets.token_hex(_NUMBER_BYTES),
        institution=call.party,
        operator=facts["opter_no"],
        signed_in_at=call.received_at,
        valid_until=call.received_at + timedelta(seconds=services.sign_in_s),
    )
    await services.write(lambda connection: sign_ins.add(connection, new))
    return Reply({"signinoutb": {"sign_time": new.signed_in_at, "sign_no": new.sign_no}})


async def sign_out(call: Call, services: Services) -> Reply:
    """9002: ending a sign-in twice is harmless."""
    number = call.content["signOut"]["sign_no"]
    await services.write(lambda connection: sign_ins.end(connection, call.party, number, call.received_at))
    return Reply({"signoutoutb": {"sign_time": call.received_at}})


async def check_sign_in(call: Call, services: Services) -> None:
    """Refused unless the message names a sign-in of this institution that has not ended, where that is the policy."""
    if call.institution.national.sign_in == "no" or call.infno in ("9001", "9002"):
        return
    number = call.head.get("sign_no", "")
    stands = bool(number) and await services.read(
        lambda connection: sign_ins.stands(connection, call.party, number, call.received_at)
    )
    if not stands:
        raise wrong("sign_no", "national.sign_no", "sign in with 9001 first")
