"""Images out of a source into files: planned purely, then done."""
