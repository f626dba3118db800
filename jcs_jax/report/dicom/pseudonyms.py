"""What stands in DICOM results in place of the source's identifiers."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import uuid

LEAST_KEY_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Pseudonyms:
    """Replaces identifiers by keyed hashes, so that only who holds the key can tell which source a result is of.

    The same key gives the same pseudonyms: results of one patient, or of one study, stay together.

    Attributes:
      key: at least 16 secret bytes.
      keep: write the source's own identifiers, so that an archive can file the results with the source.

    Raises:
      ValueError: if the key is too short to be secret.
    """

    key: bytes = dataclasses.field(repr=False)
    keep: bool = False

    def __post_init__(self) -> None:
        if len(self.key) < LEAST_KEY_BYTES:
            raise ValueError(f"the key has {len(self.key)} bytes; give at least {LEAST_KEY_BYTES} random ones")

    def uid(self, original: str) -> str:
        """The UID that stands for one of the source's; with `keep` that one."""
        return original if self.keep else self.new_uid("uid", original)

    def patient(self, patient_id: str) -> str:
        """The ID that stands for a patient's: `JCS-` and 8 letters or digits; with `keep` the patient's own."""
        if self.keep:
            return patient_id
        return f"JCS-{base64.b32encode(self._digest('patient', patient_id)[:5]).decode('ascii')}"

    def new_uid(self, *parts: str) -> str:
        """A UID of 2.25 for something new; the same for the same key and parts, with and without `keep`.

        Source: DICOM PS3.5, B.2: UIDs made from UUIDs.
        """
        return f"2.25.{uuid.UUID(bytes=self._digest(*parts)[:16], version=4).int}"

    def _digest(self, *parts: str) -> bytes:
        message = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
        return hmac.new(self.key, message, hashlib.sha256).digest()
