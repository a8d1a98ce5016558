"""HTTP: the application factory, one module per resource, problems."""
