"""One server: the connections to it, its reads, writes, swaps, scans and feed."""
