"""The three networks of JCS and their presets."""

from jcs_jax.models.presets import Preset, create_model, get_preset, preset_names

__all__ = ["Preset", "create_model", "get_preset", "preset_names"]
