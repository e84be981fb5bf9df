"""Invalidations that the store has not acknowledged: kept, bounded, sent, and saved in a file."""
