"""Tables, plots and the page, made from records of the benchmark."""

__all__ = ["figures", "formats", "page", "plot_style", "plots", "record_set", "report", "text_table"]
