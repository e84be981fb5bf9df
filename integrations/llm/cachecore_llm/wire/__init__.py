"""The wire formats of LLM providers as pure functions: requests, answers, streams.

Nothing here opens a connection, reads a clock or needs a provider's SDK.
"""
