"""Releases as runs of MLflow: what each was trained with, what it reached, and the files that show it.

The server's documented REST interface is spoken to directly, which `requests` suffices for: MLflow's own client would
bring some thirty packages, and tries for minutes again when nobody answers. Nothing here can fail a pipeline.
"""
