"""The SDKs over cached clients."""
