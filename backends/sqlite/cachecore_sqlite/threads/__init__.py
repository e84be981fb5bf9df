"""The threads of one backend, and what they hand each other."""
