#!/bin/sh
# The start script of an auto-scaling backend that is there for nothing but to load for ever (README.md, form S).
# It prints nothing, and ends with the master that started it.
parent=$PPID
while kill -0 "$parent" 2>/dev/null; do sleep 1; done
