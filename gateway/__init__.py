"""Our own master for model servers: workers tell how they do, clients are told which worker to use."""
