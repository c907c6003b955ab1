"""Where workers are launched; one module or family of modules per provider."""
