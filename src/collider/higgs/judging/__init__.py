"""How well one network does at many masses: figures, boosted trees and dedicated networks beside it, limits, a page."""
