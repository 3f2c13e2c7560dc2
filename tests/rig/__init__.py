"""Real registries, proxies and loaders, and a server that misbehaves on request."""
