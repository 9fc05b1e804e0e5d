"""README and docs/performance.md: what was measured is what the records say."""

import pytest
import readme


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_what_was_measured_is_that_of_the_records(page):
    rendered = readme.render(page)
    assert rendered.count("<!-- measured: ") == 2
    assert page.read_text(encoding="utf-8") == rendered, "run `make readme`"
