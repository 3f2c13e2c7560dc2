"""Which packages a file tells of: pure parsers, one for each kind of database.

All of them take bytes that nobody vouches for and give `Package` values, or raise
`didlab.errors.PackagesInvalid`. `look.PackagesLook` runs them over the files of a layer.
"""
