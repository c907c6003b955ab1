"""A little load for the stand-in master: `python load.py 20` asks it for twenty images, all at once."""

import json
import sys
import urllib.request
from typing import Any

MASTER = "http://127.0.0.1:7801"
STEPS = 60
"""Of each image; one takes a stand-in worker a twentieth of a second."""


def ask(route: str, **body: object) -> dict[str, Any]:
    """Call a route of the master's API as a user does, and wait for its answer."""
    words = json.dumps(body).encode()
    request = urllib.request.Request(f"{MASTER}/API/{route}", words, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return dict(json.load(answer))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    try:
        session = ask("GetNewSession")["session_id"]
        answer = ask("GenerateText2Image", session_id=session, images=count, steps=STEPS, prompt="a demo")
    except OSError as error:
        sys.exit(f"the master at {MASTER} does not answer ({error}): `ebbflow up` starts it")
    if "images" not in answer:
        sys.exit(f"no images: {answer.get('error', answer)}")
    print(f"{len(answer['images'])} images are done")
