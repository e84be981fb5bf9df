"""The cache in front of an LLM: exact keys, one computation, honest answers when everything else fails."""
