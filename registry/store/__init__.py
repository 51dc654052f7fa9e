"""Distribution's layout over a storage driver; every key is built in `layout`, and parsed in `parsing`."""
