"""A transaction changes rows and their index together, in few statements, within a bounded file size."""
