"""The tier in this process's memory, its copies, and the policies that make room in it."""
