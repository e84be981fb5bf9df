"""Each call runs in a thread and is answered once on the loop of its caller; no connection survives a fork."""
