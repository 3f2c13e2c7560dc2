"""What an image carries for nothing: overwritten and deleted files, duplicates, caches."""
