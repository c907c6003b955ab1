"""A worker of the local provider's tests: does what its words say, one after the other, and then stays until ended."""

import os
import signal
import sys
import time
from pathlib import Path

START, END = "[SwarmAutoScaleBackend]", "[/SwarmAutoScaleBackend]"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def clear_environment() -> None:
    """What a program does that writes its title over its environment: start again without ours."""
    os.execve(sys.executable, [sys.executable, __file__, *sys.argv[sys.argv.index("--scrub") + 1 :]], {})


def do(word: str, value: str) -> None:
    match word:
        case "--announce":
            say(f"{START}NewURL: {value}{END}")
        case "--retries":
            say(f"{START}DoRetries: {value}{END}")
        case "--decline":
            say(f"{START}DeclareFailed: {value}{END}")
        case "--say":
            say(value)
        case "--complain":
            sys.stderr.write(value + "\n\n")
        case "--print-mb":
            for _ in range(int(value)):
                say("x" * 100 + "\n" * (1024 * 1024 - 102))
        case "--tell-environment":
            Path(value).write_text("\0".join(f"{name}={content}" for name, content in os.environ.items()))
        case "--tell-words":
            Path(value).write_text("\0".join(sys.argv[1:]))
        case "--ignore-term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "--fork":
            if os.fork():
                os._exit(0)
        case "--fork-away":
            if not os.fork():
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "--fork-scrubbed":
            if not os.fork():
                stay = ["--ignore-term", "--tell-environment", value]
                os.execve(sys.executable, [sys.executable, __file__, *stay], {})
        case "--close-lock":
            os.closerange(3, 256)
        case "--exit":
            sys.exit(int(value))


words = iter(sys.argv[1:])
for word in words:
    if word == "--scrub":
        clear_environment()
    needs_value = word not in ("--ignore-term", "--fork", "--fork-away", "--close-lock")
    do(word, next(words) if needs_value else "")
while True:
    time.sleep(60)
