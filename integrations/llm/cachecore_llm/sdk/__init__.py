"""HTTP clients that answer the requests of the OpenAI and Anthropic SDKs from a cache."""
