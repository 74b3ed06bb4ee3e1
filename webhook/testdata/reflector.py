"""Judges requests as an app does that checks Whereby's signature over the JSON
that it has parsed and written again, and reads typed fields.

A line of input is {"secret", "now", "header", "body"}; the answer is the status
that the app would give, and numClients where it takes that over.
"""

import datetime
import hashlib
import hmac
import json
import re
import sys

FIELDS = {"apiVersion": str, "id": str, "createdAt": str, "type": str, "data": dict}
MAX_AGE = 60  # seconds


def judge(secret, now, header, body):
    event = json.loads(body)
    for name, kind in FIELDS.items():
        if not isinstance(event.get(name), kind):
            return "422 " + name
    datetime.datetime.fromisoformat(event["createdAt"].replace("Z", "+00:00"))
    match = re.match("t=(.*),v1=(.*)", header)
    if not match:
        return "401 header"
    stamp, got = match.groups()
    if now - int(stamp) >= MAX_AGE:
        return "401 age"
    again = json.dumps(event, separators=(",", ":"))
    want = hmac.new(secret.encode(), f"{stamp}.{again}".encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(want, got):
        return "401 signature"
    if not isinstance(event["data"]["meetingId"], str):
        return "500 meetingId"
    if event["type"] not in ("room.client.joined", "room.client.left"):
        return "200"
    clients = event["data"]["numClients"]
    if type(clients) is not int or clients != sum(event["data"]["numClientsByRoleName"].values()):
        return "500 numClients"
    return f"200 {clients}"


for line in sys.stdin:
    print(judge(**json.loads(line)), flush=True)
