"""Many stored runs as one history: collected, ordered, cell by cell, with the places where times changed. Nothing prints."""
