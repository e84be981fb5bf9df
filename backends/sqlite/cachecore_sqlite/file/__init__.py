"""The file at a path is a sound cache before SQLite writes to it, or it is refused, or moved aside."""
