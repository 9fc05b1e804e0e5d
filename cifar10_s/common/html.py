"""Objects as HTML, as notebooks show them."""

import base64
from collections.abc import Iterable, Sequence


def data_uri(content: bytes, media_type: str) -> str:
    """Return a data URI of some content."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def html_table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; text is escaped, unless it is `markupsafe.Markup`.

    Examples
    --------
    >>> print(html_table("<b>", ["name"], [["cat & dog"]]))
    <p>&lt;b&gt;</p><table><thead><tr><th>name</th></tr></thead><tbody><tr><td>cat &amp; dog</td></tr></tbody></table>
    """
    from markupsafe import Markup

    head = Markup().join(Markup("<th>{}</th>").format(heading) for heading in headings)
    body = Markup().join(
        Markup("<tr>{}</tr>").format(Markup().join(Markup("<td>{}</td>").format(cell) for cell in row)) for row in rows
    )
    return Markup("<p>{}</p><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(caption, head, body)
