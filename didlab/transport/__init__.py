"""HTTP: the only importer of requests."""
