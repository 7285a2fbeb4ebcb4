"""Work on many things at once: asked for by one person, approved by another, carried out in turns, stopped at any time."""
