"""Translation validation: what was imported computes what the file computes (ADR 0011)."""
