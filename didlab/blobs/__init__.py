"""Content on this machine's disk, by its digest: the local store."""
