"""A gateway that answers repeats of LLM calls from a cache, for programs in every language."""
