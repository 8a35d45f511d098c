from decimal import Decimal
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.money.amounts import dollars
from llmkit.widgets import html


class Tags(HTMLParser):
    """Collects the tags that a browser would see, and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        """A tag and the names of its attributes."""
        self.tags.append((tag, sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        """Text between tags."""
        self.text += data


def parsed(text):
    """HTML as a browser reads it."""
    tags = Tags()
    tags.feed(text)
    tags.close()
    return tags


BUILDERS = [html.badge, html.sentence, html.quiet, html.muted, html.heading, lambda text: html.table(["a"], [[text]])]


@pytest.mark.parametrize("build", BUILDERS)
@given(text=st.text(st.sampled_from("<>&\"'/ =$abimgscript\n"), max_size=40))
def test_no_text_becomes_markup(build, text):
    """Whatever a name holds, the browser sees the builder's own tags, and the text as it was."""
    hostile, harmless = parsed(build(text)), parsed(build("x"))
    assert hostile.tags == harmless.tags
    assert text in hostile.text


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unpriced"),
        (float("nan"), "unpriced"),
        (Decimal(0), "$0.00"),
        (Decimal("1.5"), "$1.50"),
        (Decimal("0.075"), "$0.075"),
        (Decimal("0.00000001"), "$0.00000001"),
        (Decimal("10.00000000"), "$10.00"),
        (Decimal(1234567), "$1,234,567.00"),
    ],
)
def test_money_reads_as_money(amount, shown):
    """Two decimals at least, no digit lost, unknown in words."""
    assert dollars(amount, exact=True) == shown


@given(st.decimals(0, 10**9, places=8))
def test_money_loses_no_digit(amount):
    """What is shown is the price, to the last decimal that the database keeps."""
    assert Decimal(dollars(amount, exact=True).removeprefix("$").replace(",", "")) == amount


@pytest.mark.parametrize(
    ("number", "shown"), [(None, ""), (999, "999"), (8192, "8.19k"), (200_000, "200k"), (999_999, "1M"), (10**6, "1M")]
)
def test_token_counts_are_short(number, shown):
    """A context window fits its column."""
    assert html.tokens(number) == shown


def test_a_long_table_is_cut_with_a_word_about_the_rest():
    """A saved notebook does not hold a thousand rows; it says how many more there are."""
    page, _ = html.static([html.Page("Many", pd.DataFrame({"n": range(1000)}))])
    assert page.count("<tr>") == html.MOST_ROWS + 1
    assert f"and {1000 - html.MOST_ROWS:,} more rows<" in page
    assert "and 1 more row<" in html.Page("Many", pd.DataFrame({"n": range(html.MOST_ROWS + 1)})).table()
    assert "more" not in html.Page("All", pd.DataFrame({"n": range(html.MOST_ROWS)})).table()
