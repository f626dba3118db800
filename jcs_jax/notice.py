"""What stands in every output: who made it, and what it is not for."""

TOOL = "jcs-jax"
RESEARCH_USE = "Research use only: not a medical device."
