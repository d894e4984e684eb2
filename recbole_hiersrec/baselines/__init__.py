"""Models to compare with: RecBole's own trained at every position, and models that count or look up past sessions."""
