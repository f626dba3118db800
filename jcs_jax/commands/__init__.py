"""The verbs of `jcs`, one module each: USAGE, define_flags and run."""
