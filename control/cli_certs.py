"""The commands of certificates: parse words, ask, print; must not decide anything."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control import show
from control.places import PKI, data_folder

if TYPE_CHECKING:
    from protocols.pki import Pki

certs_app = typer.Typer(no_args_is_help=True, help="Certificates: ours, whom we trust, whom we turned away.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
PkiFolder = Annotated[
    Path | None, typer.Option("--pki", help="Folder of certificates; pki in the data folder when left out.")
]
Name = Annotated[str, typer.Option(help="Common name.")]
Organization = Annotated[str, typer.Option(help="Organisation in the subject.")]
Uri = Annotated[str | None, typer.Option(help="ApplicationUri; urn:MACHINE:NAME when left out.")]
Host = Annotated[
    list[str] | None,
    typer.Option(help="Host name or IP address; may be given again. This machine's own when left out."),
]
Bits = Annotated[int, typer.Option(min=2048, max=4096, help="Size of the RSA key: 2048, 3072 or 4096.")]
Days = Annotated[int, typer.Option(min=1, max=7300, help="Days until it expires.")]


@certs_app.command("init")
def certs_init(
    name: Name = "twinloop",
    organization: Organization = "",
    uri: Uri = None,
    host: Host = None,
    bits: Bits = 2048,
    days: Days = 1095,
    ca: Annotated[bool, typer.Option("--ca", help="Make a certificate authority that issues it.")] = False,
    data: Data = None,
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Make our application instance certificate and its key."""
    from control import certs

    folder = _folder(data, pki, new=True)
    wanted = certs.identity(name, organization, uri, host or ())
    certs.init(folder, wanted, bits, days, ca, _now())
    _shown(_own_rows(folder), json_)


@certs_app.command("show")
def certs_show(
    thumbprint: Annotated[str | None, typer.Argument(help="First digits of a thumbprint; ours when left out.")] = None,
    data: Data = None,
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Show our certificate, or another one, in full."""
    from control import certs
    from protocols.pki import ISSUERS, REJECTED, TRUSTED

    folder = _folder(data, pki)
    if thumbprint is None:
        _ = folder.own_certificate  # says what is missing
        _shown(_own_rows(folder), json_)
        return
    held = folder.find(thumbprint, TRUSTED, ISSUERS, REJECTED)
    _shown([certs.row(held.path.parent.name, held, _now())], json_)


@certs_app.command("list")
def certs_list(data: Data = None, pki: PkiFolder = None, json_: Json = False) -> None:
    """List our certificate, the trusted ones, their issuers and the rejected ones."""
    from control import certs

    folder = _folder(data, pki)
    found = certs.rows(folder, _now())
    if json_:
        show.as_json(found)
    else:
        columns = ("folder", "thumbprint", "subject", "application uri", "expires", "note")
        cells = [
            (r["folder"], r["thumbprint"], r["subject"], r["application_uri"], r["not_after"][:10], r["note"])
            for r in found
        ]
        show.table(columns, cells, "no certificates yet: twinloop certs init")
    for error in folder.unreadable():
        show.err.print(f"passed over: {error.message}", markup=False)


@certs_app.command("trust")
def certs_trust(
    what: Annotated[str, typer.Argument(help="First digits of a rejected one's thumbprint, or a file.")],
    issuer: Annotated[bool, typer.Option("--issuer", help="An authority: trust everybody it has issued.")] = False,
    data: Data = None,
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Trust a certificate from now on. Compare its thumbprint with the one the peer itself shows first."""
    from control import certs

    held = certs.trust(_folder(data, pki), what, issuer)
    _moved("trusted", held, json_)


@certs_app.command("reject")
def certs_reject(
    thumbprint: Annotated[str, typer.Argument(help="First digits of the thumbprint of a trusted one or an issuer.")],
    data: Data = None,
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Trust a certificate no longer. Links that are connected go on until they connect the next time."""
    from control import certs

    _moved("rejected", certs.reject(_folder(data, pki), thumbprint), json_)


@certs_app.command("renew")
def certs_renew(
    days: Days = 1095,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a new key, too.")] = False,
    data: Data = None,
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Renew our certificate; a running server shows it at the next connection. Peers may have to trust it anew."""
    from control import certs

    folder = _folder(data, pki)
    certs.renew(folder, days, new_key, _now())
    _shown(_own_rows(folder), json_)


@certs_app.command("issue")
def certs_issue(
    name: Annotated[str, typer.Argument(help="Common name: a device, a broker or a person.")],
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the certificate and its key.")],
    organization: Organization = "",
    uri: Annotated[str, typer.Option(help="ApplicationUri of a device.")] = "",
    host: Annotated[list[str] | None, typer.Option(help="Host name or IP address; may be given again.")] = None,
    bits: Bits = 2048,
    days: Days = 1095,
    data: Data = None,
    pki: PkiFolder = None,
    json_: Json = False,
) -> None:
    """Issue a certificate for a device, a broker or a person by our own authority (see init --ca)."""
    from control import certs
    from protocols.certificate import Identity

    wanted = Identity(name, organization, uri, tuple(host or ()))
    certificate, key = certs.issue(_folder(data, pki), wanted, folder, bits, days, _now())
    if json_:
        show.as_json({"certificate": str(certificate), "key": str(key)})
    else:
        show.out.print(f"{certificate} and its key {key}", markup=False)


@certs_app.command("export")
def certs_export(
    file: Annotated[Path | None, typer.Argument(help="File to write; PEM on stdout when left out.")] = None,
    ca: Annotated[bool, typer.Option("--ca", help="Our authority's instead of our own.")] = False,
    pem: Annotated[bool, typer.Option("--pem", help="PEM instead of DER.")] = False,
    data: Data = None,
    pki: PkiFolder = None,
) -> None:
    """Write our certificate, without its key, for devices to trust."""
    from control import certs

    content = certs.exported(_folder(data, pki), ca, pem or file is None)
    if file is None:
        sys.stdout.write(content.decode())
    else:
        file.write_bytes(content)
        show.err.print(f"wrote {file}", markup=False)


def _folder(data: Path | None, pki: Path | None, new: bool = False) -> Pki:
    from protocols.pki import Pki

    if pki is not None:
        return Pki(pki)
    # A server's certificate is often made before the server has ever run.
    return Pki((data if new and data is not None else data_folder(data)) / PKI)


def _own_rows(folder: Pki) -> list[dict[str, Any]]:
    from control import certs
    from protocols.pki import OWN

    return [r for r in certs.rows(folder, _now()) if r["folder"] == OWN]


def _shown(rows: list[dict[str, Any]], json_: bool) -> None:
    if json_:
        show.as_json(rows)
        return
    for row in rows:
        for key, value in row.items():
            text = ", ".join(value) if isinstance(value, list) else value
            if text not in ("", False):
                show.out.print(f"{key.replace('_', ' '):<16}{text}", markup=False)
        show.out.print()


def _moved(verb: str, held: Any, json_: bool) -> None:
    from control import certs

    row = certs.row(held.path.parent.name, held, _now())
    if json_:
        show.as_json(row)
    else:
        show.out.print(f"{verb}: {row['subject']}  {row['thumbprint']}  {row['note']}", markup=False)


def _now() -> datetime:
    return datetime.now(UTC)
