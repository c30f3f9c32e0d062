"""Which runs to make next: what is believed of a law, what it may miss, and which runs tell most per FLOP."""
