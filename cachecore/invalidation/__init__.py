"""Invalidation in every process: stamps, tickets, the feed, and the outbox of unacknowledged invalidations."""
