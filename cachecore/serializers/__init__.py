"""How values become bytes."""
