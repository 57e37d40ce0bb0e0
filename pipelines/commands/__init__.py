"""The commands of the command line, a module for each thing that they are about; `pipelines.cli` gathers them."""
