"""What the core and its plugins promise each other; the only room that a backend imports."""
