"""CT slices of your own, from one CSV file or from class folders."""

from jcs_datasets.ct_manifest.ct_manifest_dataset_builder import Builder

__all__ = ["Builder"]
