"""Data sets that this package can prepare in the layout that `ftcl_model.data.features` reads."""
