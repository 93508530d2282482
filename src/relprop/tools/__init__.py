"""What stands on a study and on the engine: questions that take a whole data set to answer."""
