"""Where workers are launched; one folder per provider, and what several share."""
