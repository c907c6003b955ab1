#!/bin/sh
# The demo's launch script: one stand-in worker of SwarmUI on this host. The worker prints its NewURL by itself, and the
# script lives as long as the worker does. The variables come from the block.
exec "$PYTHON" -m ebbflow.standins.swarmui.server worker --start_seconds "$START_SECONDS" \
    --seconds_per_step "$SECONDS_PER_STEP" --require_control_within "$REQUIRE_CONTROL_WITHIN"
