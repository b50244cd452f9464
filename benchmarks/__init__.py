"""What an experiment is, how a stack of them is trained, and how embeddings are judged, tuned and logged."""
