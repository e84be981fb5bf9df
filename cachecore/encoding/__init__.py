"""The envelope of an entry, and the definition of plain data."""
