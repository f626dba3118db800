"""Why would a training run fail? Looks at data, first batch and network before it is started."""
