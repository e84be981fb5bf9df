"""One connection: every command gets its own reply or an error, and a lost connection is opened again."""
