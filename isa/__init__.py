"""The ground floor: instructions, numbers, machines, costs, object files."""
