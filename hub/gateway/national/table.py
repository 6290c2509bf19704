"""Which handler takes which `infno`. All of them go through the same desk as every other channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hub.gateway.national import claims, clearing, fees, persons, queries, sessions, settlements, visits
from hub.gateway.national.calls import Call, Reply, Services

Handler = Callable[[Call, Services], Awaitable[Reply]]

HANDLERS: dict[str, Handler] = {
    "9001": sessions.sign_in,
    "9002": sessions.sign_out,
    "9101": clearing.upload_file,
    "9102": clearing.download_file,
    "1101": persons.person_information,
    "2001": persons.benefit_check,
    "2101": settlements.try_pharmacy,
    "2102": settlements.settle_pharmacy,
    "2103": settlements.cancel,
    "2201": visits.register_outpatient,
    "2202": visits.cancel_registration,
    "2203": visits.outpatient_diagnoses,
    "2204": fees.upload,
    "2205": fees.cancel_outpatient,
    "2206": settlements.try_visit,
    "2207": settlements.settle_visit,
    "2208": settlements.cancel,
    "2301": fees.upload,
    "2302": fees.cancel_inpatient,
    "2303": settlements.try_visit,
    "2304": settlements.settle_visit,
    "2305": settlements.cancel,
    "2401": visits.register_inpatient,
    "2402": visits.discharge,
    "2403": visits.change_inpatient,
    "2404": visits.cancel_registration,
    "2405": visits.cancel_discharge,
    "2601": settlements.reverse,
    "3201": clearing.totals,
    "3202": clearing.details,
    "3203": claims.claim,
    "3204": claims.cancel,
    "3301": clearing.mappings,
    "5201": queries.visits_between,
    "5203": queries.settlement,
    "5204": queries.fee_lines,
}
