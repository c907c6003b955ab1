"""A Ray head as a master: asked over HTTP, never as a driver."""
