"""One connection: commands as bytes, replies, errors, reconnecting."""
