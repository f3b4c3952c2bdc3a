"""`prorl init`: a first manifest, and data in its form where there is none yet."""
