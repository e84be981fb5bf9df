"""Many servers as one: each key on the primary that holds it, through failovers and moving slots."""
