"""Delete rows with many rows behind them, in slices and in the background."""
