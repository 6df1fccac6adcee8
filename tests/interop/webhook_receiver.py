"""A receiver of webhooks that verifies them with PyPI standardwebhooks, one line of JSON for each request.

    webhook_receiver.py HOST:PORT SECRET...

Lines on standard input say how the next requests are answered: a status, and a number of seconds to wait before it, such
as `503 0`; it begins with `200 0`.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook

answer = (200, 0.0)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        verified = []
        for secret in sys.argv[2:]:
            try:
                Webhook(secret).verify(body, dict(self.headers))
                verified.append(True)
            except Exception:
                verified.append(False)
        status, seconds = answer
        print(
            json.dumps(
                {
                    "id": self.headers["webhook-id"],
                    "timestamp": self.headers["webhook-timestamp"],
                    "signature": self.headers["webhook-signature"],
                    "verified": verified,
                    "body": json.loads(body),
                    "status": status,
                }
            ),
            flush=True,
        )
        time.sleep(seconds)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    global answer
    host, port = sys.argv[1].rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        status, seconds = line.split()
        answer = (int(status), float(seconds))


main()
