"""What answers cost and what the cache saved: per model, tenant and prompt. Nothing here asks a network."""
