"""The local engine: each job of the graph a process with its own `/opt/ml` tree, laid out as SageMaker does."""
