"""The interface for applications: the async face, the sync face, decorators, configuration."""
