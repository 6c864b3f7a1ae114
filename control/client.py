"""The running server as the command line sees it: found by its data folder, asked over HTTP; decides nothing."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, Self

import httpx

from control.errors import CODES
from control.identity import TOKEN_FILE
from twin.errors import TwinloopError, Unavailable

SERVER_FILE = "server.json"
POLL_S = 0.2
TIMEOUT_S = 60.0  # a query may take 20 s, a check of history longer
_KIND_OF_CODE = {c.code: kind for kind, c in CODES.items() if issubclass(kind, TwinloopError)}


class Found(NamedTuple):
    """Where a server is, and what it believes and is believed by: of one with TLS the certificate that it shows."""

    url: str
    token: str
    tls: ssl.SSLContext | None


def found(data: Path, *, token: bool = True) -> Found:
    """The server that runs on this data folder. `token`: with the folder's own.

    Raises:
        Unavailable: none does.
    """
    try:
        said = json.loads((data / SERVER_FILE).read_text())
        secret = (data / TOKEN_FILE).read_text().strip() if token else ""
    except FileNotFoundError:
        raise Unavailable(
            f"no server runs on {data}", "start one with `twinloop up` or name its folder by --data"
        ) from None
    return Found(said["url"], secret, _believed(said.get("certificate")))


def _believed(certificate: str | None) -> ssl.SSLContext | None:
    """From the file that the server reads it from."""
    if certificate is None:
        return None
    from control.tls import Pair, client_context

    return client_context(Pair(Path(certificate), Path()).leaf())


class Client:
    """Raises the server's errors as our own types; Unavailable when it does not answer.

    It calls with the token of the data folder, or as an account; then `close` ends the session.
    """

    def __init__(self, data: Path, account: str = "", password: str = "") -> None:
        self.url, secret, tls = found(data, token=not account)
        self._session = bool(account)
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1", timeout=TIMEOUT_S, trust_env=False, verify=True if tls is None else tls
        )
        if account:
            secret = self.post("/session", {"account": account, "password": password})["secret"]
            self._http.cookies.clear()
        self._http.headers["Authorization"] = f"Bearer {secret}"

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, params=query)

    def get_bytes(self, path: str) -> bytes:
        """The answer as it comes."""
        return self._answer("GET", path).content

    def query(self, sql: str, limit: int, at: str = "", known: str = "", branch: str = "") -> dict[str, Any]:
        """An SQL statement's columns and rows; the moment as in `twinloop query`."""
        asked = {"sql": sql, "limit": limit, "at": at, "known": known, "branch": branch}
        answer: dict[str, Any] = self.post("/query", asked)
        return answer

    def put(self, path: str) -> Any:
        return self._ask("PUT", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._ask("POST", path, json=dict(body or {}))

    def patch(self, path: str, body: Mapping[str, Any], if_match: str = "") -> Any:
        return self._ask("PATCH", path, json=dict(body), headers=_condition(if_match))

    def delete(self, path: str, if_match: str = "") -> Any:
        return self._ask("DELETE", path, headers=_condition(if_match))

    def send(self, path: str, content: bytes, **query: Any) -> Any:
        """POST of bytes as they are."""
        return self._ask("POST", path, params=query, content=content)

    def download(self, path: str, sink: IO[bytes], told: Callable[[int], None], **query: Any) -> int:
        """GET of bytes into `sink`; `told` hears how many there are so far."""
        done = 0
        try:
            with self._http.stream("GET", path, params=query) as answer:
                if not answer.is_success:
                    answer.read()
                    self._raise(answer)
                for part in answer.iter_bytes():
                    sink.write(part)
                    done += len(part)
                    told(done)
        except httpx.TransportError as error:
            raise Unavailable(f"the server at {self.url} broke off: {error}", "its log says why; try again") from None
        return done

    def followed(self, path: str, run: Mapping[str, Any], word: str) -> Any:
        """A run below `path` once it is no longer running, with its progress on stderr. Ctrl-C cancels it.

        Raises:
            typer.Exit: it was cancelled here.
        """
        import typer
        from rich.progress import Progress

        from control import show

        address = f"{path}/{run['id']}"
        try:
            with Progress(console=show.err, transient=True) as progress:
                bar = progress.add_task(word, total=1.0)
                while run["state"] == "running":
                    time.sleep(POLL_S)
                    run = self.get(address)
                    progress.update(bar, completed=run["progress"])
        except KeyboardInterrupt:
            self.delete(address)
            show.err.print("cancelled")
            raise typer.Exit(1) from None
        return run

    def close(self) -> None:
        try:
            if self._session:
                self.delete("/session")
        except TwinloopError:
            return  # the session ends by itself
        finally:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, **how: Any) -> Any:
        answer = self._answer(method, path, **how)
        return answer.json() if answer.content else None

    def _answer(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **how)
        except httpx.TransportError as error:
            raise Unavailable(f"the server at {self.url} does not answer: {error}", "is it still running?") from None
        if answer.is_success:
            return answer
        self._raise(answer)

    def _raise(self, answer: httpx.Response) -> NoReturn:
        try:
            error = as_error(answer.json())
        except (ValueError, KeyError):
            raise TwinloopError(f"{self.url} answered {answer.status_code}", answer.text[:200]) from None
        raise error


def running(data: Path) -> Client | None:
    """The server of this folder, if it answers; the file alone may be left over from a crash."""
    if not (data / SERVER_FILE).is_file():
        return None
    client = Client(data)
    try:
        client.get("/commands", limit=1)
    except Unavailable:
        client.close()
        return None
    return client


def as_error(problem: Mapping[str, Any]) -> TwinloopError:
    """An ErrorBody as our own type."""
    kind = _KIND_OF_CODE.get(problem["code"], TwinloopError)
    made = kind.__new__(kind)
    TwinloopError.__init__(made, problem["message"], problem["hint"], problem.get("command", ""))
    return made


def _condition(if_match: str) -> dict[str, str]:
    return {"If-Match": if_match} if if_match else {}
