"""The sentence that stands in every output."""

RESEARCH_USE = "Research use only: not a medical device."
