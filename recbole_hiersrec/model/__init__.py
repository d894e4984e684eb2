"""The model. B batch, L length, T targets of a batch, D width, A augmented width, N items, C categories, M levels."""
