"""The console: the desk as pages, rendered here and kept live."""
