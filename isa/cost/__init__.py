"""The cost model: cycles and energy of instructions and programs."""
