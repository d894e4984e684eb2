"""A model that is trained once, kept in a folder of its own, and asked for recommendations without RecBole."""
