"""The machine room of the simulation: one set of rules, run by SimPy or compiled."""
