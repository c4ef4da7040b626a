"""`server.py threaded|single CONTENT PORT:IDLE-MS...`; no time means that an idle connection is kept."""

import select
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

threaded, content = sys.argv[1] == "threaded", Path(sys.argv[2])
files = {f"/{name}": (content / name).read_bytes() for name in ("hello", "big")}


class Handler(BaseHTTPRequestHandler):
    # HTTP/1.0 is the default: connections end with the answer.
    protocol_version = "HTTP/1.1" if threaded else "HTTP/1.0"
    idle = None

    def handle(self):
        self.handle_one_request()
        while not self.close_connection:
            if self.idle is not None and not select.select([self.connection], [], [], self.idle)[0]:
                break
            self.handle_one_request()

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self):
        body = self.body()
        if self.path == "/echo":
            status = 200
        elif self.path in files:
            status, body = 200, files[self.path]
        else:
            status, body = 404 if self.path == "/missing" else 500, b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_):
        pass


for port in sys.argv[3:]:
    number, idle = port.split(":")
    handler = type("Closing", (Handler,), {"idle": int(idle) / 1000 if idle else None})
    server = (ThreadingHTTPServer if threaded else HTTPServer)(("", int(number)), handler)
    threading.Thread(target=server.serve_forever).start()
