"""The four components: processing, algorithm, monitoring and explainability. Each is an image of its own."""
