"""What any reconstruction needs and no detector owns; so far its ground: errors, files, command lines, provenance."""
