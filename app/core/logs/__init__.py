"""Parts of ``app.core.logging``: where lines go (``writer``), which are said (``level``), and what is in them (``fields``)."""
