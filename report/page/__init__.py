"""The page's template, style and scripts: files only, put together by `report.html`."""
