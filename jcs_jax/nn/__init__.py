"""Network blocks of JCS as Flax Linen modules: NHWC, no configuration files, no input or output."""
