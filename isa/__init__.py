"""The ground floor: instruction table, numeric contract, machines, cost model, object file."""
