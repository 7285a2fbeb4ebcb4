"""Entry points let the world in. They are thin: parse, call core, render."""
