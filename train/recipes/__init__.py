"""One file a variant, each with its frozen recipes ORIGINAL and IMPROVED."""
