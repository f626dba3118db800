"""COVID-CS: CT slices with lesion masks and labels, as stored features or, with an agreement, as pictures."""

from jcs_datasets.covid_cs.covid_cs_dataset_builder import Builder, CovidCsConfig

__all__ = ["Builder", "CovidCsConfig"]
