"""Errors as every face of the API says them; decides no code (control/errors.py)."""

from __future__ import annotations

from control.api import wire
from control.errors import codes, words
from twin.errors import BadGraph, BadPlant, TwinloopError


MESSAGE_MAX = 500  # characters: what somebody sent is named, not sent back


def error_body(error: Exception) -> wire.ErrorBody:
    """Code, words, and the mistakes one by one where there are several."""
    message, hint = words(error)
    if len(message) > MESSAGE_MAX and not isinstance(error, BadPlant | BadGraph):
        message = f"{message[:MESSAGE_MAX]} …"
    mistakes = [str(m) for m in error.mistakes] if isinstance(error, BadPlant | BadGraph) else []
    command = error.command if isinstance(error, TwinloopError) else ""
    return wire.ErrorBody(codes(error).code, message, hint, mistakes, command)
