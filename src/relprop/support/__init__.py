"""What every room may use: errors, files, names that are near, the user's code, hashes of networks."""
