"""Maximum mean discrepancies."""
