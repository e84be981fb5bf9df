"""The envelope of an entry, and what plain data is."""
