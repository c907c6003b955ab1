#!/bin/sh
# The StartScript of SwarmUI's auto-scaling backend: launches one worker of one Ebbflow fleet. README.md says how.
# A start script gets no arguments, so the fleet stands here; what SwarmUI passes all the same is ignored.
export PREFECT_API_URL="${PREFECT_API_URL:-http://prefect.example:4200/api}"
exec ebbflow start-worker --fleet swarm-scaled --wait 15m "$@"
