"""Jets of ten classes: made as JetClass has them, read, and learned from by networks of their particles"""
