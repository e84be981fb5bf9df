"""What happens to a request: looked up, computed once, published, written, invalidated."""
