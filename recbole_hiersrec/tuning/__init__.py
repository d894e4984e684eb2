"""Search for the settings of a model by its validation part: spaces, studies, workers, what they found."""
