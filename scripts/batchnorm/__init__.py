"""What becomes of BatchNorm's shift: which way explains networks that have it best."""
