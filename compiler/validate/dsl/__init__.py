"""A .snn text evaluated by the tables of docs/dsl.md: the reference of its import."""
