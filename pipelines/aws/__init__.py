"""What the engines in the cloud share: places in S3, names, images, and the shapes of AWS's requests."""
