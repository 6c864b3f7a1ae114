"""The engineer's guide to questions, run as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sim.components.library import LIBRARY
from sim.kernel.ensemble import warm

GUIDE = Path(__file__).parents[2] / "docs" / "engineer.md"


def test_the_guides_question_to_a_layout_is_answered() -> None:
    warm(LIBRARY)
    (block,) = re.findall(r"```python\n(from sim\.components.*?)```", GUIDE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, str(GUIDE), "exec"), names)
    result = names["result"]
    assert result.stopped == "half-width" and result.backend == "kernel" and result.choice.resolved
    assert names["plan"].scenario in {outcome.name for outcome in result.scenarios}
