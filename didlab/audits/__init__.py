"""What is in an image, what changed, what is wasted, what must not be there."""
