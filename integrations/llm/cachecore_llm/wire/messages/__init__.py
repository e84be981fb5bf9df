"""Messages: assembling a body from events, and making events of a body."""
