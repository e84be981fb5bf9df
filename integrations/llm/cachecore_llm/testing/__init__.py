"""For the tests of an application that calls LLMs. `provider` is a local server; it needs the extra `testing`."""
