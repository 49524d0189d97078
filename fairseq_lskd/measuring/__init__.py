"""fairseq's models and data, fed to `analysis`, which knows neither."""
