"""Whom else the registry believes: issuers of workloads' tokens, and a token server that is not ours."""
