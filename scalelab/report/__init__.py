"""Reports: sections of an analysis, as terminal tables, one HTML page, Markdown, figures and JSON."""
