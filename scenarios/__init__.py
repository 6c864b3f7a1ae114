"""Plants as data, the fleets that move their devices, and scripts that ask what happens if."""
