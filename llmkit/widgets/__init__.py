"""The forms and views for JupyterLab, one file a panel. Each is handed the kit, the run or the handle that it shows."""
