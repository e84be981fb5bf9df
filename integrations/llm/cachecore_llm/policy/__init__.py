"""What may be stored, for how long, and where: decided purely, from facts. Nothing here asks a provider or a store."""
