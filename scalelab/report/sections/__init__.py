"""One file a topic of a report: what it says in sentences, tables and figures."""
