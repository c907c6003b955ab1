"""The waiting room: answers as a SwarmUI whose one backend loads for ever, so that requests wait for it."""
