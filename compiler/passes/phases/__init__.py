"""Graph IR to the forward, back-propagation and weight-gradient programs."""
