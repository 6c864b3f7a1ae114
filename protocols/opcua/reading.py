"""Reads the values of many nodes in batches that the server takes; must not know subscriptions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from protocols.delivery import Batch, Delivery
from protocols.opcua import binary, codec, messages
from protocols.opcua.channel import TOO_MUCH, Channel, Limits, check
from protocols.opcua.intake import Intake, by_library, take_data_value, take_value
from protocols.opcua.messages import Answer, Answers, Garbled, Strange
from twin.points import Point, Selection


async def read_all(
    channel: Channel, limits: Limits, points: Selection, rows: NDArray[np.int32], delivery: Delivery, intake: Intake
) -> None:
    """Deliver the values that the server holds of the points in the given rows, one batch a request.

    One request at a time: several under way were measured to be slower.
    """
    answers, left = Answers(), deque([rows])
    while left:
        part = left.popleft()
        if len(part) > limits.read:
            left.extendleft((part[limits.read :], part[: limits.read]))
            continue
        nodes = [codec.node_id(address) for address in points.take(part).words("address")]
        parameters = messages.read(nodes, messages.WHATEVER_AGE_MS)
        if len(part) > 1 and len(parameters) + messages.HEADER_BYTES > channel.request_max:
            left.extendleft((part[len(part) // 2 :], part[: len(part) // 2]))
            continue
        body = await channel.exchange(messages.READ, parameters)
        taken = _deliver(body, answers, part, delivery, intake)
        if taken is None and len(part) > 1:
            limits.read = min(limits.read, len(part) // 2)
            left.appendleft(part)
        elif taken and taken < len(part):
            limits.read = min(limits.read, taken)
            left.appendleft(part[taken:])


def _deliver(body: bytes, answers: Answers, part: NDArray[np.int32], delivery: Delivery, intake: Intake) -> int | None:
    """How many values came; None when so many were too much."""
    batch = delivery.batch()
    try:
        answer: Answer | None = answers.decode(body)
    except Strange:
        answer = None
    if answer is None:
        values = by_library(ua.ReadResponse, body).Results[: len(part)]
        intake.take_slowly(batch, list(zip(part.tolist(), values, strict=False)))
        count = len(values)
    else:
        fault = answer.head[binary.RESULT]
        if fault in TOO_MUCH:
            return None
        check(fault)
        count = min(len(answer), len(part))
        intake.take(batch, answer, part[:count], slice(0, count))
    batch.deliver()
    return count


def read_one(batch: Batch, body: bytes, point: Point) -> None:
    """Take the answer to a Read of one point.

    Raises:
        UaStatusCodeError, ValueError: it has no value.
    """
    try:
        answer = Answers(1).decode(body)
    except Strange:
        (found,) = by_library(ua.ReadResponse, body).Results
        take_data_value(batch, found, point)
        return
    check(answer.head[binary.RESULT])
    if len(answer) != 1:
        raise Garbled(f"{len(answer)} answers to one question")
    take_value(batch, answer, 0, point)


async def read_attributes(
    channel: Channel, address: str, attributes: Sequence[int], timeout_s: float
) -> list[ua.DataValue]:
    """Attributes of one node, as asyncua has them."""
    request = ua.ReadRequest()
    for attribute in attributes:
        item = ua.ReadValueId()
        item.NodeId, item.AttributeId = ua.NodeId.from_string(address), ua.AttributeIds(attribute)
        request.Parameters.NodesToRead.append(item)
    return list((await channel.call(request, ua.ReadResponse, timeout_s)).Results)
