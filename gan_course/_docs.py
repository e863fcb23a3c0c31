"""What nbdev does to a lesson's stored outputs before Quarto sees them; named in settings.ini, not for import."""


def stored_html(cell):
    """Drop views of widgets, which need a kernel; hand HTML on as it is, so that it comes alive on the page."""
    if cell.cell_type != "code": return
    view = "application/vnd.jupyter.widget-view+json"
    outputs = [o for o in cell.get("outputs", []) if view not in o.get("data", {})]
    for output in outputs:
        html = output.get("data", {}).pop("text/html", None)
        if html is None: continue
        html = html if isinstance(html, str) else "".join(html)
        fence = "```"
        while fence in html: fence += "`"
        output["data"]["text/markdown"] = f"{fence}{{=html}}\n{html.strip()}\n{fence}\n"
    cell["outputs"] = outputs
