"""Figures inside a page: SVG, a drawing for each panel, that works without script and names its runs."""
