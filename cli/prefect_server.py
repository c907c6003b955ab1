"""`python -m ebbflow.cli.prefect_server server start ...`: a Prefect server that goes on answering on SQLite.

Measured with Prefect 3.8.8, aiosqlite 0.22 and Python 3.11: the garbage collector resets a cursor of the database in
the thread of the server's event loop. Where that cursor's connection waits just then for another one's transaction, the
loop stands still, and with it whoever would finish the transaction, until SQLite's waiting time of a minute is over.
Nine requests at once are enough. In a thread of its own the collector waits alone.
"""

import gc
import runpy
import threading
import time

COLLECT_SECONDS = 10.0


def _collect() -> None:
    while True:
        time.sleep(COLLECT_SECONDS)
        gc.collect()


if __name__ == "__main__":
    gc.disable()
    threading.Thread(target=_collect, name="garbage collector", daemon=True).start()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
