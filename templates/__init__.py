"""The templates of units, and how they are rendered."""
