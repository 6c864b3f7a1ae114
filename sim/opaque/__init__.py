"""Models that somebody else steps, as components of a layout on SimPy: FMUs, EPANET, networks, generators."""
