"""Inside layers: decompress, walk the tar, index it, merge the layers, read single files."""
