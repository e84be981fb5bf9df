"""How a request becomes a key."""
