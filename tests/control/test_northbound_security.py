"""The served twin over channels that sign and encrypt: whom it lets in, and that no password is taken in the clear."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from control import certs
from protocols import certificate as x
from protocols.opcua.guests import Door
from protocols.served import Figures
from tests.control.served_plant import PASSWORD, works
from tests.protocols.pki_bench import folder
from twin.errors import TwinloopError

SERVE = {"opcua": "opc.tcp://127.0.0.1:0/twinloop"}


async def sealed(endpoint: str, theirs: Any, uri: str) -> Client:
    """A client that encrypts, as anna."""
    made = Client(endpoint, timeout=20)
    made.application_uri = uri
    await made.set_security(
        SecurityPolicyBasic256Sha256, str(theirs.own_certificate_path), str(theirs.own_key_path),
        mode=ua.MessageSecurityMode.SignAndEncrypt,
    )  # fmt: skip
    made.set_user("anna")
    made.set_password(PASSWORD)
    return made


async def test_a_trusted_client_commands_over_an_encrypted_channel_and_others_do_not_get_in(tmp_path: Path) -> None:
    ours, theirs = folder(tmp_path, "server"), folder(tmp_path, "scada")
    async with works(tmp_path, serve=SERVE, pki=ours.folder) as plant:
        endpoint = plant.endpoints["opcua"]
        offered = await Client(endpoint).connect_and_get_server_endpoints()
        modes = {(e.SecurityMode.name, e.SecurityPolicyUri.rpartition("#")[2]) for e in offered}
        sealing = {("SignAndEncrypt", p) for p in ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")}
        assert modes == sealing | {("None_", "None")}
        with pytest.raises((ua.uaerrors.UaStatusCodeError, ConnectionError)):
            async with await sealed(endpoint, theirs, "urn:test:scada"):
                pass
        (kept,) = ours.rejected()
        certs.trust(ours, x.thumbprint(kept.certificate), issuer=False)
        async with await sealed(endpoint, theirs, "urn:test:scada") as client:
            status = client.get_node("ns=2;s=pump.status")
            await status.write_value(True)
            assert (await plant.ended("CONFIRMED")).author == "opcua:anna"


async def test_an_address_that_others_can_reach_is_not_served_in_the_open(tmp_path: Path) -> None:
    with pytest.raises(TwinloopError, match="certificate"):
        async with works(tmp_path, serve={"opcua": "opc.tcp://0.0.0.0:0/twinloop"}, pki=tmp_path / "pki"):
            pass


async def test_a_password_in_the_clear_is_taken_from_this_machine_only() -> None:
    asked: list[str] = []

    class View:
        figures = Figures()

        async def sign_in(self, name: str, password: str, peer: str) -> Any:
            asked.append(peer)
            return "operator"

    server: Any = SimpleNamespace(decrypt_user_token=lambda session, token: (token.UserName, "word"))
    door = Door(View(), "viewer")  # type: ignore[arg-type]
    token = ua.UserNameIdentityToken(UserName="anna", Password=b"word")
    session: Any = None
    with pytest.raises(ServiceError) as refused:
        await door.guest(server, session, token, "192.0.2.7", False)
    assert refused.value.code == ua.StatusCodes.BadIdentityTokenRejected
    for peer, is_sealed in (("127.0.0.1", False), ("::1", False), ("192.0.2.7", True)):
        assert (await door.guest(server, session, token, peer, is_sealed)).account == "anna"
    assert asked == ["127.0.0.1", "::1", "192.0.2.7"]
