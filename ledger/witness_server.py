"""A witness on HTTP: POST /add-checkpoint, one request at a time for each connection.

Must not decide anything: it reads bytes, asks the witness and writes its answer.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ledger.errors import NoteError
from ledger.witness import REQUEST_BYTES_MAX, Answer, WitnessState

IDLE_S = 30.0  # a connection that says nothing for so long is closed
PATH = "/add-checkpoint"


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness on `host` and `port` (0: any free one)."""

    daemon_threads = True

    def __init__(self, state: WitnessState, host: str, port: int) -> None:
        self.state = state
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive, as tlog-witness asks for
    timeout = IDLE_S
    server: WitnessServer

    def do_POST(self) -> None:
        if self.path != PATH:
            self._send(Answer(404, f"a witness has only POST {PATH}\n"))
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > REQUEST_BYTES_MAX:
            self.close_connection = True
            self._send(Answer(413, f"a request says its length, at most {REQUEST_BYTES_MAX:,} bytes\n"))
            return
        try:
            body = self.rfile.read(int(length)).decode("utf-8")
        except UnicodeDecodeError:
            self._send(Answer(400, "the request is not UTF-8\n"))
            return
        try:
            answer = self.server.state.add(body)
        except (OSError, NoteError) as error:  # its own disk or record: nothing was cosigned
            print(f"nothing cosigned: {error}", file=sys.stderr)
            answer = Answer(500, "the witness cannot keep its record now\n")
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        data = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        print(f"{self.client_address[0]} {format % args}", file=sys.stderr)
