"""Many images at once: checks over all of them, each distinct layer read once; policies."""
