"""What every image carries: the SageMaker contract, settings, tables, artefacts, the server and the entrypoint."""
