"""Which attributes explain a drop in the success rate of payments."""
