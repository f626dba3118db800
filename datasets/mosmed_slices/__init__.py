"""MosMedData: one CT slice a study, from studies without and with signs of COVID-19."""

from jcs_datasets.mosmed_slices.mosmed_slices_dataset_builder import Builder

__all__ = ["Builder"]
