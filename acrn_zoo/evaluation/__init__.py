"""Detections to numbers: pure functions of arrays, and evaluators that gather over batches and processes."""
