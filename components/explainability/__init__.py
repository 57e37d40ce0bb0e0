"""Explains a tree model's scores exactly, and tells when production is scored for other reasons than training was."""
