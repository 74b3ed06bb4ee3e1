"""Says what an app sends, and reads events, with the generated client.

Standard input has the answer of GET /v1/events.
"""

import importlib
import json
import pkgutil
import sys

import client
from client import models

for module in pkgutil.walk_packages(client.__path__, "client."):
    importlib.import_module(module.name)

assert models.NewLink().to_dict() == {}
assert models.MeetingChanges(end_at=None).to_dict() == {"end_at": None}
events = models.Events.from_dict(json.load(sys.stdin)).data
print(" ".join(type(event).__name__ for event in events))
