"""Values: strings and bytes in, values out; standard library only."""
