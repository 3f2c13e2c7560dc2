"""Looking at an image with a mouse: `Manifest.explore` and `didlab.explore`.

What is shown is decided in plain classes (`state`, `folders`, `preview`, `saving`); `explorer`,
`tree` and `window` draw it with ipywidgets, and are imported only when somebody explores.
"""
