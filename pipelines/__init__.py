"""One manifest, one graph of jobs, and the engines that run it."""
