"""VNN-LIB 2.0 queries: their text, their declarations and assertions in exact fractions, and what assertions amount to."""
