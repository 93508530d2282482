"""What every room may use: errors, files, names that are near, what is the user's own, hashes of networks."""
