"""Objects in a bucket of an S3-compatible store. Imported only where one is configured: boto3 lives here."""
