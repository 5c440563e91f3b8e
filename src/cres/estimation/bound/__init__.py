"""The Cramér–Rao bound: of electrons, of an apparatus over its phase space, of a single tone."""
