"""Slices and masks on their way to a network: sources, splits, augmentation, batches."""
