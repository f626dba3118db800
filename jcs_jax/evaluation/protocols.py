"""The evaluation protocols by name."""

from __future__ import annotations

from jcs_jax.errors import InputError
from jcs_jax.evaluation.classification_protocols import COVID_CS_PAPER, MOSMED_CT0_CT12, UCSD_OFFICIAL
from jcs_jax.evaluation.protocol import Protocol
from jcs_jax.evaluation.segmentation_protocols import COVID_SEMISEG_50_48, COVID_SEMISEG_FOLDS, CT100_FOLDS

_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        COVID_SEMISEG_50_48,
        COVID_SEMISEG_FOLDS,
        CT100_FOLDS,
        UCSD_OFFICIAL,
        MOSMED_CT0_CT12,
        COVID_CS_PAPER,
    )
}


def protocol_names() -> list[str]:
    """All names that `get_protocol` knows."""
    return list(_PROTOCOLS)


def get_protocol(name: str) -> Protocol:
    """Returns the protocol of that name.

    Raises:
      InputError: there is none; the message lists the names.
    """
    if name not in _PROTOCOLS:
        raise InputError(f"no protocol is called '{name}'; choose one of {', '.join(protocol_names())}")
    return _PROTOCOLS[name]
