"""One computation for all callers of a key: in an event loop, and among processes."""
