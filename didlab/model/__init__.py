"""What users hold: Registry, Repository, Manifest, Layer; lazy, comparable by address."""
