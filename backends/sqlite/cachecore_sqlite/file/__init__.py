"""Which file, whose it is, and whether it is sound."""
