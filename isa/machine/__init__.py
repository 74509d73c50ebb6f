"""Machine descriptions: schema, parts, reading."""
