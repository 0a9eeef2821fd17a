"""A page on this machine for one person: photographs in memory, edits of them as sliders move, and a small server."""
