"""`python -m ledger`: data on stdout, and the exit code that a script can rely on."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.__main__ import main
from ledger.errors import ChainError
from ledger.log import Log
from ledger.node import Node
from ledger.proving import about_entry, prove

ROOT = Path(__file__).parents[2]


def test_verify_says_ok_with_0_and_damage_with_3(anchored_once: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    copied = shutil.copytree(anchored_once, tmp_path / "copy")
    assert main(["verify", str(copied)]) == 0
    out = capsys.readouterr().out
    assert "chain        ok" in out
    assert "recorded     9 entries" in out and "anchored     9 entries, as the folder" in out
    assert "witnessed    not checked" in out
    assert out.endswith("verified\n")
    data = bytearray((copied / "log").read_bytes())
    data[200] ^= 1
    (copied / "log").write_bytes(data)
    assert main(["verify", str(copied), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["problems"][0]["place"] == "log, entry 2, byte 168"


def test_the_chain_may_stand_elsewhere(anchored_once: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    copied = shutil.copytree(anchored_once, tmp_path / "copy")
    (copied / "chain").rename(tmp_path / "chain")
    assert main(["verify", str(copied), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chain"].startswith("not checked")
    assert main(["verify", str(copied), "--chain", str(tmp_path / "chain"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chain"] == "ok"


def test_a_proof_is_made_and_checked(anchored_once: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    proof = tmp_path / "proof.json"
    assert main(["prove", str(anchored_once), "4", "-o", str(proof)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, f"proof written to {proof}" in captured.err) == ("", True)
    assert main(["verify-bundle", str(proof)]) == 0
    assert '{"number": 4}' in capsys.readouterr().out
    changed = json.loads(proof.read_text())
    changed["entries"][0]["index"] = 5
    proof.write_text(json.dumps(changed))
    assert main(["verify-bundle", str(proof), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["ok"] is False
    proof.write_text("{")
    assert main(["verify-bundle", str(proof)]) == 3


def test_what_does_not_exist_is_4_and_a_wrong_call_is_2(ten: Path, tmp_path: Path) -> None:
    assert main(["verify", str(tmp_path / "nowhere")]) == 4
    assert main(["show", str(tmp_path / "nowhere")]) == 4
    assert main(["prove", str(ten), "10", "-o", str(tmp_path / "p")]) == 4
    assert main(["verify-bundle", str(tmp_path / "p")]) == 4
    for wrong in ([], ["frobnicate"], ["prove", str(ten), "x", "-o", "p"], ["prove", str(ten), "1"]):
        with pytest.raises(SystemExit) as exit:
            main(wrong)
        assert exit.value.code == 2


def test_a_failure_of_the_call_is_1_and_a_key_that_is_none_is_2(ten: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as told:
        main(["verify", str(ten), "--key", "nonsense"])
    assert told.value.code == 2
    assert main(["prove", str(ten), "1", "-o", str(tmp_path / "no" / "such" / "folder")]) == 1


def test_show_prints_entries_oldest_first(ten: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["show", str(ten), "--last", "2"]) == 0
    assert capsys.readouterr().out == (
        '8 2023-11-14T22:13:20.000000008Z test.made {"number": 8}\n'
        '9 2023-11-14T22:13:20.000000009Z test.made {"number": 9}\n'
    )
    assert main(["show", str(ten), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["index"] for line in lines] == list(range(10))
    assert main(["show", str(ten), "--kind", "other"]) == 0
    assert capsys.readouterr().out == ""


def test_show_names_what_is_not_an_entry_and_goes_on(ten: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    with Log.open(ten) as log:
        log.append([b"raw bytes"])
    assert main(["show", str(ten), "--last", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("9 ")
    assert captured.err.startswith("entry 10: not an entry")


def test_the_module_runs_as_a_program(ten: Path) -> None:
    command = [sys.executable, "-m", "ledger", "verify", str(ten)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_ledger_imports_no_other_folder_and_the_verifier_nothing_of_the_writer() -> None:
    allowed = {*sys.stdlib_module_names, "ledger", "cryptography"}
    chain_only = {"eth", "eth_account", "eth_bloom", "eth_keys", "eth_tester", "eth_utils", "rlp", "trie", "vyper"}
    chain_files = ("chain.py", "chain_store.py", "node_chain.py", "__main__.py")
    writer_only, writer_files = {"numpy", "numba", "llvmlite"}, ("bulk.py", "machine.py")
    for path in (ROOT / "ledger").rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names.add(str(node.module))
        foreign = {name.split(".")[0] for name in names} - allowed
        assert (
            not foreign
            or (foreign <= chain_only and path.name in chain_files)
            or (foreign <= writer_only and path.name in writer_files)
        ), path
        if path.name in ("verify.py", "reader.py", "frames.py", "merkle.py", "note.py", "receipts.py"):
            assert not names & {"ledger.log", "ledger.writer", "ledger.bulk", "ledger.anchors", "ledger.chain"}, path


def test_what_a_bundle_says_cannot_begin_a_line_or_move_the_cursor(ten: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    bundle = prove(ten, about_entry(3))
    for text in ("x\nchecked     witness.example/w1 cosigned", "\x1b[2Jx", "\x9b2J", "\ud800", "\u202egnorw"):
        for spoiled in (
            bundle | {"about": {"kind": "command", "id": text}},
            bundle | {"about": {"kind": "reading", "batch": 0, "point": text, "source_time_ns": "1"}},
        ):
            path = tmp_path / "bundle.json"
            path.write_text(json.dumps(spoiled))
            assert main(["verify-bundle", str(path)]) == 3
            out = capsys.readouterr().out
            assert all(c.isprintable() for line in out.split("\n") for c in line)
            assert not any(line.startswith("checked     witness") for line in out.splitlines())


@pytest.mark.parametrize("text", [b"", b"\xff\xfe{", '{"a": 1}'.encode("utf-16"), b'{"a": 1, "a": 2}'])
def test_a_file_that_is_no_json_is_not_verified_in_words_and_in_json(tmp_path: Path, text: bytes, capsys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "bundle.json"
    path.write_bytes(text)
    assert main(["verify-bundle", str(path)]) == 3
    assert "NOT VERIFIED" in capsys.readouterr().err
    assert main(["verify-bundle", str(path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["ok"] is False


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:abc/", "ftp://x", "nothing"]
)
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(ChainError, match="no address of a node"):
        Node(url)
