"""Bundles: images carried across an air gap as plain files (docs/bundle-format.md)."""
