"""Learns the distribution of the training data, and checks production data against it."""
