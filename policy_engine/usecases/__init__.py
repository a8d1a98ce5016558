"""What the service does, one use case a module, over the ports of the core."""
