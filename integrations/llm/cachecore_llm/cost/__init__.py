"""The cost of answers and the savings of the cache, per model, tenant and prompt. Nothing here does I/O."""
