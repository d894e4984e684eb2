"""Models to compare with: RecBole's own trained at every position, and counting models that RecBole lacks."""
