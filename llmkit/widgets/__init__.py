"""Forms and views for JupyterLab, one file per panel. Each receives the kit, run or handle that it shows."""
