"""What a hit costs through each framework: with cachecore in its slot, and with the framework's own cache in memory."""
