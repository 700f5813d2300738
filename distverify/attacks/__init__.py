"""Attacks on the claims of a result: what is proven must hold at every point that anybody can find."""
