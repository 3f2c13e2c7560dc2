"""How things look: values in, DataFrames, text and HTML out; never live objects."""
