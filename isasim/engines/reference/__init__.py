"""The reference engine in plain numpy, the oracle of the fast one."""
