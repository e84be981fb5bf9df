"""What an application calls: the async face, the sync face, decorators, configuration."""
