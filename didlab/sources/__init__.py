"""Where content lives: one port, `Source`, and an adapter for each kind of place."""
