"""What changed between two images: files, packages, config, layers, sizes."""
