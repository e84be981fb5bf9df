"""Access to a store that never hangs: deadlines, bounds, a breaker for each node, the store's clock."""
