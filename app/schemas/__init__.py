"""Wire types: what requests must be and answers are."""
