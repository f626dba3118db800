"""Many cases, one after the other or side by side, from files to folders of results."""
