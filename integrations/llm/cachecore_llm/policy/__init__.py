"""Which answers may be stored, for how long, and where: pure decisions on facts. Nothing here does I/O."""
