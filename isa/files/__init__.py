"""Files and TOML texts of the outside, read and written safely."""
