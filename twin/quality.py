"""Quality of a reading as an OPC UA status code (Part 4, 7.39; Part 8, 6.3); must not know any device or screen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOOD = 0x0000_0000
UNCERTAIN = 0x4000_0000
UNCERTAIN_LAST_USABLE = 0x4090_0000
UNCERTAIN_SIMULATED_VALUE = 0x4209_0000
UNCERTAIN_NO_COMMUNICATION_LAST_USABLE = 0x408F_0000
UNCERTAIN_ENGINEERING_UNITS_EXCEEDED = 0x4094_0000
UNCERTAIN_SUBNORMAL = 0x4095_0000
BAD = 0x8000_0000
BAD_COMMUNICATION_ERROR = 0x8005_0000
BAD_TIMEOUT = 0x800A_0000
BAD_WAITING_FOR_INITIAL_DATA = 0x8032_0000
BAD_NO_COMMUNICATION = 0x8031_0000
BAD_NODE_ID_UNKNOWN = 0x8034_0000
BAD_OUT_OF_RANGE = 0x803C_0000
BAD_NOT_CONNECTED = 0x808A_0000
BAD_DEVICE_FAILURE = 0x808B_0000
BAD_SENSOR_FAILURE = 0x808C_0000
BAD_NO_DATA = 0x809B_0000

NAMES = {
    GOOD: "Good",
    UNCERTAIN: "Uncertain",
    UNCERTAIN_LAST_USABLE: "UncertainLastUsableValue",
    UNCERTAIN_NO_COMMUNICATION_LAST_USABLE: "UncertainNoCommunicationLastUsableValue",
    UNCERTAIN_ENGINEERING_UNITS_EXCEEDED: "UncertainEngineeringUnitsExceeded",
    UNCERTAIN_SUBNORMAL: "UncertainSubNormal",
    BAD: "Bad",
    BAD_COMMUNICATION_ERROR: "BadCommunicationError",
    BAD_TIMEOUT: "BadTimeout",
    BAD_WAITING_FOR_INITIAL_DATA: "BadWaitingForInitialData",
    BAD_NO_COMMUNICATION: "BadNoCommunication",
    BAD_NODE_ID_UNKNOWN: "BadNodeIdUnknown",
    BAD_OUT_OF_RANGE: "BadOutOfRange",
    BAD_NOT_CONNECTED: "BadNotConnected",
    BAD_DEVICE_FAILURE: "BadDeviceFailure",
    BAD_SENSOR_FAILURE: "BadSensorFailure",
    BAD_NO_DATA: "BadNoData",
    UNCERTAIN_SIMULATED_VALUE: "UncertainSimulatedValue",
}
_SEVERITY_NAMES = ("Good", "Uncertain", "Bad", "Bad")


def severity(quality: int) -> int:
    """Top two bits of the status code: 0 good, 1 uncertain, 2 or 3 bad."""
    return quality >> 30


def is_good(quality: int) -> bool:
    return quality >> 30 == 0


def good_mask(quality: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Shape (N,) of codes -> shape (N,) of True where the severity is Good."""
    mask: NDArray[np.bool_] = (quality >> np.uint32(30)) == 0
    return mask


def name(quality: int) -> str:
    """`Good`, `BadTimeout` …, or the severity and the code in hex for codes not in our table."""
    known = NAMES.get(quality)
    return known if known is not None else f"{_SEVERITY_NAMES[quality >> 30]}(0x{quality:08X})"
