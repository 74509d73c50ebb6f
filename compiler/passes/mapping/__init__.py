"""Who computes what and when: cores, routes, schedule."""
