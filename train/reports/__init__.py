"""Tables, cards and publication."""
