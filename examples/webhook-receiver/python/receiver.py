"""Takes usher's webhooks: verifies them as Standard Webhooks 1.0.0 says, leaves
out what it has had already, and answers before it works.

    WEBHOOK_SECRET=whsec_… python3 receiver.py 127.0.0.1:8765
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 5 * 60  # seconds that the clocks may be apart
MAX_BODY = 1 << 20  # bytes


def verify(key, headers, body):
    """Tells whether the body was signed with the key, just now.

    It needs the bytes as they came: JSON that was decoded and encoded again is
    another.
    """
    event_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        return False
    if abs(time.time() - int(stamp)) > TOLERANCE:
        return False
    signed = f"{event_id}.{stamp}.".encode() + body
    mac = hmac.new(key, signed, hashlib.sha256).digest()
    want = b"v1," + base64.b64encode(mac)
    # While the secret changes there is a signature for each of the two.
    signatures = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(s.encode(), want) for s in signatures)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds
    key = b""
    seen = set()  # in a real app a unique column in the database
    lock = threading.Lock()

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            return self.answer(400)
        body = self.rfile.read(int(length))
        if not verify(self.key, self.headers, body):
            return self.answer(401)
        try:
            event = json.loads(body)
        except ValueError:
            return self.answer(422)
        told = event["id"], event["type"], event.get("seq", 0)
        with self.lock:
            if event["id"] in self.seen:
                print("again", event["id"], flush=True)
            elif event.get("gap"):
                print("gap, read the meeting anew:", *told, flush=True)
            else:
                print("event", *told, flush=True)
            self.seen.add(event["id"])
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass  # one line for each event is enough


def main():
    secret = os.environ.get("WEBHOOK_SECRET", "")
    if not secret or len(sys.argv) != 2:
        sys.exit("usage: WEBHOOK_SECRET=whsec_… receiver.py HOST:PORT")
    Receiver.key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    host, _, port = sys.argv[1].rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Receiver)
    print(f"listening on {server.server_address[0]}:{server.server_address[1]}", flush=True)
    server.serve_forever()


main()
