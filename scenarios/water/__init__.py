"""EPA's Net3 water network as a plant: its definition, the fleet that moves its devices, a what-if script."""
