"""`[[serve]]` of the plant file: what it becomes, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.twin.plants import PLANT, RULES, write
from twin.errors import BadPlant, Mistake
from twin.plantfile import SERVING_INTERFACE, load_plant
from twin.rules import Clash, ServingRules, Setting


def check_endpoint(endpoint: str) -> None:
    if not endpoint.startswith("face://"):
        raise ValueError("write it as face://host")


def check_settings(endpoint: str, settings: object) -> list[Clash]:
    return [Clash("loud", "loud in public", "be quiet")] if "public" in endpoint else []


def check_files(folder: Path, settings: object, points: object) -> list[Mistake]:
    return [Mistake("map.csv", 3, "bad row", "mend it")] if (folder / "map.csv").exists() else []


FACES = {
    "face": ServingRules(
        {"points": Setting(list, ("*",), "patterns"), "loud": Setting(str, "no", "how", choices=("no", "yes"))},
        check_endpoint, check_settings, check_files,
    )
}  # fmt: skip
SERVE = '\n[[serve]]\nprotocol = "face"\nendpoint = "face://here"\n'


def load(folder: Path, more: str, serve: dict[str, str] | None = None) -> object:
    return load_plant(write(folder, PLANT + more), RULES, None, FACES, serve)


def mistakes(folder: Path, more: str, serve: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(BadPlant) as caught:
        load(folder, more, serve)
    return [str(m).partition(":")[2].partition(": ")[2] for m in caught.value.mistakes]


def test_a_serving_has_its_settings_and_a_twin_of_its_own(tmp_path: Path) -> None:
    plant = load_plant(write(tmp_path, PLANT + SERVE + 'points = ["tank.*"]\n'), RULES, None, FACES)
    (serving,) = plant.servings
    assert (serving.id, serving.endpoint) == ("face", "face://here")
    assert serving.settings == {"points": ("tank.*",), "loud": "no"}
    assert plant.twin("face").interface == SERVING_INTERFACE
    assert plant.point("face.clients").type == "integer"
    assert not plant.kept_points()[plant.point("face.clients").id], "Twinloop itself says it, nobody keeps it"


def test_an_endpoint_is_replaced_or_a_serving_added_without_touching_the_file(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    replaced = load_plant(write(tmp_path / "a", PLANT + SERVE), RULES, None, FACES, {"face": "face://there"})
    assert [s.endpoint for s in replaced.servings] == ["face://there"]
    added = load_plant(write(tmp_path / "b", PLANT), RULES, None, FACES, {"face": "face://there"})
    assert [(s.id, s.endpoint) for s in added.servings] == [("face", "face://there")]
    assert load_plant(write(tmp_path / "c", PLANT), RULES, None, FACES).servings == ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (SERVE.replace('"face"', '"faxe"'), "'faxe' cannot serve the twin; one of face"),
        (SERVE.replace("face://here", "http://here"), "endpoint 'http://here'; write it as face://host"),
        (SERVE.replace("face://here", "face://public"), "loud in public; be quiet"),
        (SERVE + SERVE, "a [[serve]] is called 'face' already; give this one an id = \"…\""),
        (SERVE + 'id = "tank"\n', "a device or twin is called 'tank' already; give this one an id = \"…\""),
        (SERVE + 'id = "a b"\n', "id 'a b'; use letters, digits and _, letter first"),
        (SERVE + 'loud = "maybe"\n', "loud = 'maybe'; one of no, yes"),
        (SERVE + 'points = "tank"\n', "points = 'tank' is not a list of texts; patterns"),
        (SERVE + "points = [1]\n", "points = [1] is not a list of texts; patterns"),
        (SERVE + "lowd = 1\n", "face has no setting 'lowd'; did you mean loud?"),
        ('\n[[serve]]\nprotocol = "face"\n', "serve without endpoint; add endpoint = …"),
    ],
)
def test_a_mistake_is_told_with_its_fix(tmp_path: Path, more: str, said: str) -> None:
    assert said in mistakes(tmp_path, more)


def test_an_unknown_serving_on_the_command_line_is_told(tmp_path: Path) -> None:
    (said,) = mistakes(tmp_path, SERVE, {"other": "face://x"})
    assert said == "an endpoint is given for unknown [[serve]] 'other'; name one of face"


def test_mistakes_of_a_file_that_a_serving_names_have_that_files_lines(tmp_path: Path) -> None:
    folder = write(tmp_path, PLANT + SERVE)
    (folder / "map.csv").write_text("")
    with pytest.raises(BadPlant, match=r"map\.csv:3: bad row; mend it"):
        load_plant(folder, RULES, None, FACES)
