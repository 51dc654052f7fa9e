"""Distribution's layout over a storage driver; every key is built and parsed in `layout`."""
