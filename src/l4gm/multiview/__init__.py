"""One image to four orthogonal views."""
