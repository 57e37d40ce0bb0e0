"""Programs of the other side. Each runs by itself, in the peers' environment, and imports nothing of ours."""
