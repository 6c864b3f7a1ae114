"""Milliseconds to fork a million points, against a bare copy of the columns."""

from __future__ import annotations

from tests.bench import line, seconds
from twin.table import PointTable

POINTS = 1_000_000


def main() -> None:
    table = PointTable.sized(POINTS)
    columns = table.columns
    arrays = (columns.value, columns.quality, columns.source_time, columns.received_time, columns.revision)
    ours = seconds(lambda: table.snapshot(1, 1, 1))
    floor = seconds(lambda: [a.copy() for a in arrays])
    line("twin_fork", round(ours * 1e3, 2), "ms", round(floor * 1e3, 2), {"points": POINTS})


if __name__ == "__main__":
    main()
