"""What happens if: experiments from the state of the twin; imports nothing of the other folders but the twin."""
