"""The simulated chip: cores, sequencers, movement, network."""
