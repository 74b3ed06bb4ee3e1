"""Runs the platform client and the webhook router as Reflector does, in a
stand-in for what they use of it, and does what it reads.

Each line of the input is JSON, [name, arguments], and so is each of the output:
{"result": …} or {"error": …}. The first line of the output is the port.
"""

import asyncio
import json
import sys
from datetime import datetime
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI

from reflector.db.meetings import meetings_controller
from reflector.db.recordings import recordings_controller
from reflector.logger import Logger, logger
from reflector.video_platforms import factory
from reflector.views.jitsi import _process, router


def configure(**settings):
    vars(factory.config).update(settings)


async def create_meeting(prefix, end_date, **room):
    """What Reflector does to make a meeting (views/rooms.py)."""
    client = factory.create_platform_client("jitsi")
    room = SimpleNamespace(**room)
    made = await client.create_meeting(prefix, datetime.fromisoformat(end_date), room)
    await client.upload_logo(made.room_name, "./images/logo.png")
    meetings_controller.add(made.meeting_id, made.room_name)
    return made


def state(meeting_id):
    row = meetings_controller.rows[meeting_id]
    return {**vars(row), "processed": recordings_controller.keys, "errors": Logger.errors}


def verify(body, signature, timestamp):
    client = factory.create_platform_client("jitsi")
    return client.verify_webhook_signature(body.encode(), signature, timestamp)


async def process(recording):
    before = len(recordings_controller.keys)
    await _process(recording, logger)
    return [key for _, key in recordings_controller.keys[before:]]


COMMANDS = {f.__name__: f for f in (configure, create_meeting, state, verify, process)}


async def perform(name, arguments):
    call = COMMANDS.get(name) or getattr(factory.create_platform_client("jitsi"), name)
    result = call(**arguments)
    return await result if asyncio.iscoroutine(result) else result


async def main():
    app = FastAPI()
    app.include_router(router, prefix="/v1")
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            answer = {"result": await perform(*json.loads(line))}
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer, default=jsonable), flush=True)
    server.should_exit = True
    await serving


def jsonable(value):
    return value.isoformat() if isinstance(value, datetime) else value.dict()


asyncio.run(main())
