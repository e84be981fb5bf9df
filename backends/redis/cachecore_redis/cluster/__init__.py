"""Many servers: which keys live where, and what happens when that changes."""
