"""What makes an answer invalid everywhere: stamps, tickets, the feed, and the outbox of what pends."""
