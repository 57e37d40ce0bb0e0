"""The algorithm component: learns a model from prepared rows, and answers HTTP with its scores."""
