"""The signing dialect of a region with its keys. Keys may be per institution: `own_private_key.H36010000001`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from adapters.basic.national.region import Region
from crypto import sm2
from crypto.signing import BodySigning, EnvelopeSigning, GatewaySigning, Signing, Unsigned
from schemas.payer import PartySettings

INSTITUTIONS_MAX = 1024


class Keys:
    """Signs requests and verifies answers by the region's dialect. ValueError for keys that cannot work."""

    def __init__(self, settings: PartySettings, region: Region, token: Callable[[], str] | None = None) -> None:
        self._secrets = settings.secrets
        self._region = region
        self._token = token
        self._made = lru_cache(INSTITUTIONS_MAX)(self._make)
        needed = {
            "none": (),
            "envelope": ("own_private_key", "region_public_key"),
            "body": ("own_private_key", "region_public_key"),
            "gateway": ("gateway_secret",),
        }[region.signing]
        for name in needed:
            if not any(known.partition(".")[0] == name for known in settings.secrets):
                raise ValueError(f"party {settings.code}: the secret {name} is missing for signing: {region.signing}")
        if any(name in settings.secrets for name in needed):
            self._made("")

    def sign(self, envelope: Mapping[str, Any], institution: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The envelope to send with its headers."""
        return self._made(institution).sign(envelope)

    def opened(self, envelope: Mapping[str, Any], institution: str) -> dict[str, Any]:
        """An answer as the region meant it; SignatureRefused unless it is proven to be the region's.

        In the gateway dialect answers are not signed.
        """
        if self._region.signing == "gateway":
            return dict(envelope)
        return self._made(institution).verify(envelope, {}, "output")

    @property
    def proven(self) -> bool:
        """Whether answers are signed."""
        return self._region.signing in ("envelope", "body")

    def _make(self, institution: str) -> Signing:
        match self._region.signing:
            case "envelope":
                return EnvelopeSigning(
                    sm2.PrivateKey.of_text(self._secret("own_private_key", institution)),
                    sm2.PublicKey.of_text(self._secret("region_public_key", institution)),
                    self._region.sm2_form or sm2.Form.RAW,
                    self._region.yes("skip_empty"),
                )
            case "body":
                sm4_key = self._secret("sm4_key", institution)
                return BodySigning(
                    sm2.PrivateKey.of_text(self._secret("own_private_key", institution)),
                    sm2.PublicKey.of_text(self._secret("region_public_key", institution)),
                    sm2.key_bytes(sm4_key, (16,)) if sm4_key else None,
                    self._region.sm4_mode,
                    self._region.sm2_form or sm2.Form.DER,
                    token=self._token,
                )
            case "gateway":
                return GatewaySigning(self._region.texts["paas_id"], self._secret("gateway_secret", institution))
        return Unsigned()

    def _secret(self, name: str, institution: str) -> str:
        return self._secrets.get(f"{name}.{institution}") or self._secrets.get(name, "")
