"""The exported reader in a real browser, opened from the disk."""

import json
import random
from pathlib import Path

import axe_core_python
import pytest
from lab_page import PATIENCE, plain

import llmkit
from llmkit.analysis import markdown, reader_data

PAYLOADS = (
    "<img src=x onerror=window.hacked=1>",
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "<svg onload=window.hacked=1>",
    "[x](javascript:window.hacked=1)",
    "![x](http://127.0.0.1:9/pixel.png)",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>",
    "\"><b onmouseover=window.hacked=1>",
    "`</pre><style>*{display:none}</style>`",
)  # fmt: skip


def data(probes, columns=("country",)):
    """Data of the reader: each probe is (prompt, answer, status, code)."""
    prompts = list(dict.fromkeys(prompt for prompt, *_ in probes))
    return {
        "columns": list(columns),
        "codes": [],
        "scenarios": [{"earlier": [], "prompts": [prompt]} for prompt in prompts],
        "systems": [None],
        "questions": [None],
        "probes": [
            {
                "id": str(i), "run": "r", "config": f"m{i % 2}", "model": f"m{i % 2}", "sample": 1, "status": status,
                "code": code, "message": answer if code else None, "cost": "$0.01", "latency": 1.0,
                "turns": [] if code else [{"response": answer, "note": ""}], "s": prompts.index(prompt), "system": 0,
                "question": 0, "values": ["DE" if i % 2 else "FR"], "notes": {},
            }
            for i, (prompt, answer, status, code) in enumerate(probes)
        ],
    }  # fmt: skip


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens data in the reader and returns the page; every request beyond the file is a failure."""
    page = browser.new_page(viewport={"width": 1280, "height": 760})
    page.set_default_timeout(PATIENCE)
    requests = []
    page.on("request", lambda request: requests.append(request.url))

    def show(content):
        file = tmp_path / "answers.html"
        file.write_text(reader_data.page("Answers", reader_data.pack(content)), encoding="utf-8")
        page.goto(file.as_uri())
        page.locator(".row").first.wait_for()
        return page

    yield show
    assert requests == [(tmp_path / "answers.html").as_uri()]
    page.close()


def test_a_run_is_read_with_the_keyboard_alone(opened, tmp_path):
    """Search, j and k, side by side, and Escape do what their letters say, without a mouse."""
    with llmkit.open(tmp_path / "c.duckdb", simulate=True) as kit:
        run = kit.run(["Why is it cold?", "How is it done?"], ["openai:gpt-6-luna", "xai:grok-4.5"]).result()
    page = opened(reader_data.answers([run]))
    page.locator(".list").focus()
    page.keyboard.press("j")
    assert page.locator(".row.chosen .chips").inner_text().startswith("xai:grok-4.5")
    page.keyboard.press("s")
    assert page.locator("article").count() == 2
    page.keyboard.press("/")
    page.keyboard.type("done")
    assert page.locator(".row").count() == 2
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    assert "How is it done?" in page.locator(".detail").inner_text()


def test_hostile_texts_stay_texts(opened):
    """Nine payloads in prompts, answers, names, values and errors are characters on the screen, and run nothing."""
    content = data(
        [(payload, payload, "ok", None) for payload in PAYLOADS] + [("p", PAYLOADS[0], "failed", PAYLOADS[1])]
    )
    for probe, payload in zip(content["probes"], PAYLOADS, strict=False):
        probe["config"] = probe["model"] = payload
        probe["values"] = [payload]
        probe["notes"] = {"mark": True, "comment": payload, f"code.{payload}": payload}
    content["columns"], content["codes"] = [PAYLOADS[0]], list(PAYLOADS)
    page = opened(content)
    for raw in (False, True):
        if raw:
            page.keyboard.press("r")
        for place in range(len(content["probes"])):
            page.locator(".list").focus()
            page.keyboard.press("Home" if place == 0 else "j")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".llmkit-reader :is(img, script, iframe, svg, a)").count() == 0
    assert PAYLOADS[0] in page.locator(".detail").inner_text()


def test_scripts_from_right_to_left_keep_their_place(opened):
    """An Arabic answer begins at the right; the sample stands after a Hebrew name, not within the value after it."""
    content = data([("What is fair?", "مرحبا بالعالم.", "ok", None)])
    content["probes"][0] |= {"config": "lab:מודל", "values": ["שלום"]}
    page = opened(content)
    begins = """node => {
        const letter = document.createRange();
        letter.setStart(node.firstChild, 0);
        letter.setEnd(node.firstChild, 1);
        return letter.getBoundingClientRect().right - node.getBoundingClientRect().right;
    }"""
    assert abs(page.locator(".answer p").evaluate(begins)) < 3
    chips = page.locator(".row .chips")
    left = """node => [...node.childNodes].filter(child => child.textContent).map(child => {
        const part = document.createRange();
        part.selectNodeContents(child);
        return part.getBoundingClientRect().left;
    })"""
    places = chips.evaluate(left)
    assert places == sorted(places)


def test_lists_and_code_are_read_as_they_were_meant(opened):
    """Numbers go on after a blank line or code, lists stay in each other, and nothing that was answered is left out."""
    answer = "1. **One**\n\n2. Two\n   - `a*b`\n   - c*d\n```\nx\n```\n3. Three\n\n````\n```\n````\n```y``` \\*z\\*"
    page = opened(data([("a", answer, "ok", None), ("b", ">" * 3_000 + " deep", "ok", None)]))
    lists = page.locator(".answer .text > ol")
    assert [int(each.get_attribute("start")) for each in lists.all()] == [1, 3]
    assert page.locator(".answer ol > li > ul > li").all_inner_texts() == ["a*b", "c*d"]
    assert page.locator(".answer pre").all_inner_texts() == ["x", "```"]
    assert "y" in page.locator(".answer .text > p").last.inner_text()
    assert "*z*" in page.locator(".answer .text > p").last.inner_text()
    page.locator(".list").focus()
    page.keyboard.press("j")
    assert page.locator(".answer").inner_text().endswith("deep")


@pytest.mark.parametrize("part", ["[a](b", "[a](", "_", "`", "*", "[", "**_*`", "> ", "|"])
def test_an_answer_that_repeats_itself_is_read(opened, part):
    """Markup that opens and never ends, as a model writes that got stuck, does not stop the browser."""
    page = opened(data([("Prompt", part * (60_000 // len(part)) + "\n\nThe end.", "ok", None)]))
    page.locator(".row").click()
    assert page.get_by_role("region", name="Conversation").get_by_text("The end.", exact=True).is_visible()


def test_a_failure_leads_to_all_probes_that_failed_so(opened):
    """The button beside an error shows the probes of that code only; the filters offer values with their counts."""
    page = opened(
        data([("a", "x", "ok", None), ("b", "busy", "failed", "TIMEOUT"), ("c", "busy", "failed", "TIMEOUT")])
    )
    page.locator(".row").nth(1).click()
    page.get_by_role("button", name="All like this").click()
    assert page.get_by_role("status").inner_text() == "2 of 3"
    assert page.get_by_label("Failure").locator("option").nth(1).inner_text() == "TIMEOUT (2)"


def test_ten_thousand_answers_are_at_hand(opened):
    """A thousand characters each: everything is searched, and only what is on the screen is drawn."""
    draw = random.Random(1)
    words = [f"word{n}" for n in range(3_000)]
    page = opened(data([(f"Prompt {i}", " ".join(draw.choices(words, k=140)), "ok", None) for i in range(10_000)]))
    page.get_by_label("Search in all turns").fill("prompt 9999")
    assert page.get_by_role("status").inner_text() == "1 of 10,000"
    page.get_by_label("Search in all turns").fill("")
    assert page.locator(".row").count() < 40
    page.locator(".list").focus()
    page.keyboard.press("End")
    assert "Prompt 9999" in plain(page.locator(".row.chosen").inner_text())


def test_earlier_turns_are_a_part_of_the_conversation(opened):
    """What a scenario gives as said before is read and found, above the prompt."""
    content = data([("And then?", "x", "ok", None)])
    content["scenarios"][0]["earlier"] = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    page = opened(content)
    text = plain(page.get_by_role("region", name="Conversation").inner_text())
    assert "Prompt from the scenario Why? Answer from the scenario So. Prompt And then?" in text
    page.get_by_label("Search in all turns").fill("so.")
    assert page.get_by_role("status").inner_text() == "1 of 1"


def test_a_question_is_read_with_its_options(opened):
    """What followed the prompt is read and found below it, side by side in each one's order."""
    content = data([("Which?", "x", "ok", None), ("Which?", "y", "ok", None)]) | {"questions": ["- red", "- blue"]}
    content["probes"][1]["question"] = 1
    page = opened(content)
    page.get_by_role("button", name="Side by side").click()
    texts = [plain(text) for text in page.locator("article").all_inner_texts()]
    assert ["Prompt Which? red Answer" in texts[0], "Prompt Which? blue Answer" in texts[1]] == [True, True]
    page.get_by_label("Search in all turns").fill("blue")
    assert page.get_by_role("status").inner_text() == "1 of 2"


def test_configurations_are_told_apart(opened):
    """Each shows its model and the system prompt that it was sent; the filter counts as people do."""
    content = data([("Prompt", "x", "ok", None), ("Prompt", "y", "ok", None)]) | {
        "systems": ["Be a nurse.", "Be a poet."]
    }
    for place, label in enumerate(("way 10", "way 2")):
        content["probes"][place] |= {"config": label, "system": place}
    page = opened(content)
    page.get_by_role("button", name="Side by side").click()
    texts = [plain(text) for text in page.locator("article").all_inner_texts()]
    assert [text[: text.index(" Prompt")] for text in texts] == [
        "way 10 · m0 · sample 1 · ok · $0.01 · 1.0 s System Be a nurse.",
        "way 2 · m1 · sample 1 · ok · $0.01 · 1.0 s System Be a poet.",
    ]
    options = page.get_by_label("Configuration").locator("option").all_inner_texts()
    assert options == ["Configuration: all", "way 2 (1)", "way 10 (1)"]


def test_a_conversation_is_printed_whole(opened):
    """Of an exported reader, paper shows the open conversation to its end, and neither the list nor the filters."""
    page = opened(data([("Prompt", "\n\n".join(f"Paragraph {n}" for n in range(200)), "ok", None)]))
    page.locator(".row").click()
    page.emulate_media(media="print")
    last = page.get_by_text("Paragraph 199").last.bounding_box()
    assert 760 < last["y"] < page.evaluate("document.documentElement.scrollHeight")
    assert not page.locator(".list").is_visible()
    assert not page.get_by_label("Search in all turns").is_visible()


def test_a_report_fits_a_narrow_page(browser, tmp_path):
    """A long word breaks, and a wide table scrolls by itself."""
    file = tmp_path / "report.html"
    cells = [["a wide cell"] * 20]
    file.write_text(markdown.page("Report", f"{'x' * 500}\n\n{markdown.table(['n'] * 20, cells)}"), encoding="utf-8")
    page = browser.new_page(viewport={"width": 600, "height": 760})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 600
    assert page.locator("table").evaluate("table => table.scrollWidth > table.clientWidth")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reader_is_accessible(opened, scheme):
    """axe-core finds nothing serious, in either color scheme, wide and narrow."""
    page = opened(
        data([("a", "# Title\n\n* one\n* two\n\n```\ncode\n```", "ok", None), ("b", "busy", "failed", "TIMEOUT")])
    )
    page.emulate_media(color_scheme=scheme)
    axe = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    for width in (1280, 700):
        page.set_viewport_size({"width": width, "height": 760})
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(results => results.violations)")
        serious = [entry["id"] for entry in found if entry["impact"] in ("serious", "critical")]
        assert serious == [], json.dumps(found)[:2_000]
