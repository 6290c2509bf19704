"""Master data by file: what kinds of file there are, what is refused, and how a file becomes rows in force."""
