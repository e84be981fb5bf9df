"""Disk space: how much may be taken, and the write-ahead log."""
