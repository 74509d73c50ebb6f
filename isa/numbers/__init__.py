"""The numeric contract: binary16, tables, random bits."""
