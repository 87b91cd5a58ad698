"""The HTTP API: what its routes do is in a module per resource, how Chalice calls them in `routes`."""
