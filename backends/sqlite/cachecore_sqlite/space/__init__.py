"""A write begins only if the disk and the WAL have space for it; deletions are refused last."""
