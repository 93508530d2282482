"""Data sets whose objects have bounding boxes: what a study of localisation measures on."""
