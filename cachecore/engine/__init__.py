"""The path of a request: looked up, computed once, published, written, invalidated."""
