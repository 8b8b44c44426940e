"""HTTP: routes, what they accept and answer, middleware; no rules and no SQL."""
