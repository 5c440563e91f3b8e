"""The Cramér–Rao bound: of electrons and of an apparatus over its phase space."""
