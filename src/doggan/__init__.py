"""doggan: photos in, a scored and valid images.zip out, for Kaggle's Generative Dog Images."""

__version__ = "0.1.0"
