"""One file per topic of a report: what it says in sentences, tables and figures."""
