"""The twin: what the plant is, what it last reported, and what changed; imports nothing of the other folders."""
