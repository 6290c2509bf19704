"""Settings: read once by `main`, from HUB_… variables, a `.env` file or the file HUB_CONFIG_FILE; fail by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

EMBEDDED = "embedded:"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class InvalidSettings(Exception):
    """A variable is missing or wrong; the text names it and says what to do."""


class Settings(BaseModel):
    """Everything that differs between installations. Each field is a variable HUB_<NAME>."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: SecretStr = SecretStr(EMBEDDED)
    """postgresql://…, or `embedded:` for a private server under the data folder."""
    broker_url: SecretStr = SecretStr(EMBEDDED)
    """amqp://… of the hub's own vhost (several, separated by commas, form a cluster), or `embedded:`."""
    edge_broker_url: SecretStr = SecretStr("")
    """amqp://… of the parties' vhost; the same as the broker's when left out."""
    broker_admin_url: SecretStr = SecretStr("")
    """http(s)://user:password@host:15672 of RabbitMQ's management plugin, for `hub party`."""
    party_connections_max: Annotated[int, Field(ge=1, le=1000)] = 10
    party_channels_max: Annotated[int, Field(ge=1, le=10_000)] = 50
    """What `hub party` allows a party's user at a time, over all its connections."""
    queue_name_secret: SecretStr = SecretStr("")
    """Key of what the broker calls the queues; 32 characters or more. Without it names can be guessed, and whoever has
    a user in the parties' vhost can count another's messages."""
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8480
    party_token_secret: SecretStr = SecretStr("")
    """Key from which the parties' HTTP tokens are derived; 32 characters or more."""
    operator_token_secret: SecretStr = SecretStr("")
    """Key from which the operators' HTTP tokens are derived; 32 characters or more, another than the parties'."""
    trust_party_header: bool = False
    """Believe the X-Party and X-Operator headers instead of tokens: for the sandbox on loopback only."""
    party_secrets: str = ""
    """A file with the keys and passwords that the parties' dialects need: YAML, `PARTY: {name: value}`."""
    person_key_secret: SecretStr = SecretStr("")
    """Key of the hash under which coverage is found by identity number; 32 characters or more; never change it."""
    soap_address: str = ""
    """http(s)://…/soap/settlement as the parties reach it; the service description names it. What the request says when
    left out, which is wrong behind a proxy that ends TLS."""
    wsdl_public: bool = False
    """Show the SOAP service description to everybody, not to parties only."""
    national_input_max: Annotated[int, Field(ge=1_000, le=1_000_000)] = 40_000
    """The most characters of `input` in a national envelope."""
    national_sign_in_s: Annotated[float, Field(ge=60, le=604_800)] = 43_200.0
    """How long a sign-in (9001) is good."""
    data_dir: Path = Path(".hub")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    prefetch_max: Annotated[int, Field(ge=1, le=10_000)] = 256
    batch_max: Annotated[int, Field(ge=1, le=1_000)] = 128
    database_pool_size: Annotated[int, Field(ge=2, le=100)] = 10
    overdue_after_s: Annotated[float, Field(gt=0, le=120)] = 120.0
    """Whatever was accepted and is not at its end after so long is on the operators' list."""
    alert_webhook_url: SecretStr = SecretStr("")
    """http(s)://… to which alerts are posted; without it they stand in the log only."""
    alert_webhook_secret: SecretStr = SecretStr("")
    """Key of the signature of posted alerts; unsigned without it."""
    verify_every_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    verify_window_s: Annotated[float, Field(ge=60, le=31_536_000)] = 3600.0
    """How far back the scheduled look at the invariants goes; `hub verify` looks at everything."""
    recon_every_s: Annotated[float, Field(ge=0, le=86_400)] = 3600.0
    """How often the relay asks about doubts, compares the running day and makes what comparisons are due; 0: never."""
    clock_look_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """How often a process sets its clock by the database's."""
    failpoints: str = ""
    """Where this process shall die (`hub/failpoints.py`): for fault tests only."""
    stop_timeout_s: Annotated[float, Field(gt=0, le=300)] = 25.0
    drain_s: Annotated[float, Field(ge=0, le=60)] = 5.0
    """How long a gateway that ends waits for idle connections to speak once more and be sent away in order."""

    @property
    def embedded_broker(self) -> bool:
        return self.broker_url.get_secret_value() == EMBEDDED

    @property
    def embedded_database(self) -> bool:
        return self.database_url.get_secret_value() == EMBEDDED

    @model_validator(mode="after")
    def _safe_together(self) -> Self:
        if self.trust_party_header and self.http_host not in _LOOPBACK:
            raise PydanticCustomError("settings", "trust_party_header: only with HUB_HTTP_HOST on loopback")
        secrets = {
            "party_token_secret": self.party_token_secret,
            "operator_token_secret": self.operator_token_secret,
            "person_key_secret": self.person_key_secret,
            "queue_name_secret": self.queue_name_secret,
        }
        for name, secret in secrets.items():
            if 0 < len(secret.get_secret_value()) < 32:
                raise PydanticCustomError("settings", f"{name}: needs 32 characters or more")
        for name, address in {
            "alert_webhook_url": self.alert_webhook_url,
            "broker_admin_url": self.broker_admin_url,
            "soap_address": SecretStr(self.soap_address),
        }.items():
            written = address.get_secret_value()
            if written and not written.startswith(("http://", "https://")):
                raise PydanticCustomError("settings", f"{name}: write http://… or https://…")
        if not self.embedded_database and not self.person_key_secret.get_secret_value():
            raise PydanticCustomError("settings", "person_key_secret: must be set with a database of your own")
        return self


def read_settings(environment: Mapping[str, str], folder: Path) -> Settings:
    """Settings from `environment`, over `.env` in `folder`, over HUB_CONFIG_FILE (YAML, the fields' names as keys).

    InvalidSettings names each wrong or unknown variable.
    """
    dotenv = {name: value for name, value in dotenv_values(folder / ".env").items() if value is not None}
    variables = {**dotenv, **environment}
    known = set(Settings.model_fields)
    values: dict[str, Any] = _from_file(variables.get("HUB_CONFIG_FILE"))
    for name, value in variables.items():
        field = name.removeprefix("HUB_").lower()
        # Variables of the tests and of deployment tools may share the prefix; ours are those of the fields.
        if name.startswith("HUB_") and field in known and value != "":
            values[field] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidSettings("; ".join(_complaint(detail) for detail in error.errors())) from None


def _from_file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidSettings(f"HUB_CONFIG_FILE: {path} cannot be read: {type(error).__name__}") from None
    if not isinstance(content, dict):
        raise InvalidSettings(f"HUB_CONFIG_FILE: {path} must hold a mapping of settings")
    return content


def _complaint(detail: Any) -> str:
    if detail["type"] == "settings":
        name, _, remedy = detail["msg"].partition(": ")
        return f"HUB_{name.upper()}: {remedy}"
    name = str(detail["loc"][0]).upper() if detail["loc"] else "?"
    if detail["type"] == "extra_forbidden":
        return f"HUB_{name}: there is no such setting"
    return f"HUB_{name}: {detail['msg']}"
