"""COVID-19-CT100: CT slices of COVID-19 patients with lesion masks."""

from jcs_datasets.covid19_ct100.covid19_ct100_dataset_builder import Builder

__all__ = ["Builder"]
