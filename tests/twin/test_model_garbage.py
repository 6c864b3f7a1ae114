"""Documents, graphs and values of any shape give mistakes, never a crash."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.test_dtdl import CAMERA, PHONE, document, prop
from tests.twin.test_dtdl_export import schemas
from twin.dtdl_export import export_interfaces
from twin.dtdl_rules import EXTENSIONS, KEYS, VERSIONS
from twin.graphread import read_graph
from twin.models import read_models
from twin.schema import PRIMITIVES, Misfit, Schema, canonical, settle

WORDS = [
    *sorted({k for keys in KEYS.values() for k in keys}), *KEYS, *VERSIONS, *PRIMITIVES, *EXTENSIONS, "dtmi:a;1", "dtmi:b;1",
    "metre", "Length", "@value", "@language", "@graph", "annotates", "$dtId", "$metadata", "$model", "digitalTwins",
    "digitalTwinsGraph", "relationships", "$sourceId", "$targetId", "$relationshipName", "digitalTwinsModels", "twinloop",
]  # fmt: skip
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(WORDS) | st.text(max_size=3)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=30,
)


VALUE = {"name": "v", "schema": "double"}
MAP = {"@type": "Map", "mapKey": {"name": "k", "schema": "string"}, "mapValue": VALUE}
TABLE = document("A", [prop("x", MAP)], "dtmi:dtdl:context;3", extends=["dtmi:test:Camera;1"])


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A right document with something else put anywhere in it."""
    made: Any = json.loads(json.dumps([CAMERA, PHONE, TABLE]))
    for _ in range(draw(st.integers(1, 3))):
        inner = made
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(inner[key], dict | list) or draw(st.integers(0, 3)) == 0:
                inner[key] = draw(anything)
                break
            inner = inner[key]
    return made


@settings(max_examples=300, deadline=None)
@given(anything | spoilt())
def test_any_document_is_read_or_refused_and_what_is_read_can_be_written(said: Any) -> None:
    models = read_models({"a.json": json.dumps(said)})
    if not models.mistakes:
        again = read_models({"b.json": json.dumps(export_interfaces(models.interfaces.values()))})
        assert again.mistakes == ()
        assert again.interfaces == models.interfaces


@settings(max_examples=200, deadline=None)
@given(anything)
def test_any_graph_is_read_or_refused(said: Any) -> None:
    found = read_graph(json.dumps({"digitalTwinsGraph": said, "digitalTwinsModels": [CAMERA, PHONE]}))
    assert (found.graph is None) == bool(found.mistakes)
    read_graph(json.dumps(said))


@settings(max_examples=200, deadline=None)
@given(schemas, anything | st.binary(max_size=3))
def test_any_value_settles_or_is_a_misfit(schema: Schema, value: Any) -> None:
    try:
        assert isinstance(canonical(settle(schema, value)), str)
    except Misfit as misfit:
        assert str(misfit)
