"""Two calorimeters: showers in cells of η × φ, what electronics read of them, clusters with their shapes"""
