"""The page that `snncc report` writes."""
