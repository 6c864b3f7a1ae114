"""Where a server is: the command line and scripts find it in the same way, by its data folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control import client, live_client
from control.client import SERVER_FILE, Client, found
from control.identity import TOKEN_FILE
from twin.errors import Unavailable


def test_a_server_is_found_by_its_folder_with_its_token_or_without(tmp_path: Path) -> None:
    assert live_client.found is client.found
    with pytest.raises(Unavailable, match="no server runs on") as missing:
        found(tmp_path)
    assert missing.value.hint
    (tmp_path / SERVER_FILE).write_text(json.dumps({"url": "http://127.0.0.1:8080"}))
    assert found(tmp_path, token=False) == ("http://127.0.0.1:8080", "", None)
    with pytest.raises(Unavailable):
        Client(tmp_path)
    (tmp_path / TOKEN_FILE).write_text("secret\n")
    assert found(tmp_path) == ("http://127.0.0.1:8080", "secret", None)
    with Client(tmp_path) as made:
        assert made.url == "http://127.0.0.1:8080"
