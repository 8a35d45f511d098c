"""The reader of a run that is long, while its kernel lives, in a real JupyterLab."""

import llmkit

OPEN = """
import llmkit
kit = llmkit.open({path!r})
kit.reader({run!r})
"""
RUN = """
sim = llmkit.simulator.serve(latency=lambda asked: 0 if "early" in str(asked.body) else math.inf)
kit.use_simulator(sim)
kit.catalog.update_provider("openai", max_parallel_requests=20, requests_per_minute=100_000)
handle = kit.run([f"Question {n}, {'early' if n < 5 else 'late'}?" for n in range(15)], ["openai:gpt-6-luna"])
sim.wait_until(lambda: sim.stats()["ok"] >= 5)
kit.reader(handle.run_id)
"""
WATCH = """() => {
    window.messages = [];
    const kernel = window.notebook.context.sessionContext.session.kernel;
    kernel.iopubMessage.connect((_, {parent_header, header, content, buffers}) => {
        const kind = content.data?.method === 'custom' ? content.data.content.type : header.msg_type;
        const size = JSON.stringify(content).length + (buffers ?? []).reduce((sum, each) => sum + each.byteLength, 0);
        if (kind === 'all' || (parent_header.msg_type === 'execute_request' && !kind.startsWith('comm_'))) {
            window.messages.push([content.execution_state ?? kind, size]);
        }
    });
}"""


def test_the_first_answers_are_shown_before_the_others_are_read(lab, database):
    """A view without answers, the first 200, all, and the form to save follow each other before the cell ends."""
    with llmkit.open(database, simulate=True) as kit:
        kit.catalog.update_provider("openai", max_parallel_requests=50, requests_per_minute=1_000_000)
        run = kit.run([f"Question {n}?" for n in range(450)], ["openai:gpt-6-luna"]).result(120)
    notebook = lab.notebook("long", OPEN.format(path=str(database), run=run.id))
    lab.page.evaluate(WATCH)
    notebook.run()
    reader = notebook.output().locator(".llmkit-reader")
    reader.get_by_text("450 of 450", exact=True).wait_for()
    assert "Question 0?" in reader.locator(".row.chosen").inner_text()
    reader.get_by_label("Search in all turns").fill("question 449")
    assert reader.get_by_role("status").inner_text() == "1 of 450"
    messages = lab.page.evaluate("window.messages")
    kinds = ["busy", "execute_input", "display_data", "all", "changed", "update_display_data", "idle"]
    assert [kind for kind, _ in messages] == kinds
    sizes = dict(messages)
    assert sizes["display_data"] < 2_000 < sizes["all"] < sizes["changed"] < sizes["update_display_data"]
    notebook.save()
    lab.close_all()
    saved = lab.open("long.ipynb", kernel=False).output().frame_locator("iframe")
    saved.get_by_text("450 of 450", exact=True).wait_for()


def test_a_view_that_came_late_asks_for_the_answers(lab, database):
    """A page that is loaded again while the kernel lives shows them without running the cell."""
    with llmkit.open(database, simulate=True) as kit:
        run = kit.run(["Why?"], ["openai:gpt-6-luna"]).result(60)
    notebook = lab.notebook("late", OPEN.format(path=str(database), run=run.id))
    notebook.run()
    notebook.output().locator(".llmkit-reader .row").wait_for()
    notebook.save()
    lab.load()
    lab.open("late.ipynb").output().locator(".llmkit-reader .row").wait_for()


def following(lab, database, name):
    """A notebook with a run of which ten answers are held back, its reader, and the reader's filter by status."""
    opening = f"import llmkit, math\nkit = llmkit.open({str(database)!r}, simulate=True)"
    notebook = lab.notebook(name, opening, RUN)
    notebook.run()
    reader = notebook.output().locator(".llmkit-reader")
    status = reader.get_by_label("Status")
    status.locator("option", has_text="pending (10)").wait_for(state="attached")
    return notebook, reader, status


def test_a_run_in_progress_is_followed_to_its_end(lab, database):
    """Answers that come after the reader was opened are shown, and saved when the run ends."""
    notebook, reader, status = following(lab, database, "followed")
    notebook.run_code("sim.set(latency=0)")
    status.wait_for(state="detached")  # all are ok: there is nothing to choose
    assert "15 of 15" in reader.inner_text()
    lab.page.wait_for_function(
        "() => JSON.stringify(window.notebook.context.model.toJSON()).split('srcdoc').length === 2"
    )


def test_a_filter_stays_as_it_was_chosen_while_the_run_goes_on(lab, database):
    """New answers take away neither a list that is open nor the way back from what no answer has any more."""
    notebook, reader, status = following(lab, database, "filtered")
    status.focus()
    opened = status.element_handle()
    status.select_option("=pending")
    notebook.run_code("sim.set(latency=0)")
    reader.get_by_role("status").get_by_text("0 of 15", exact=True).wait_for()
    assert opened.evaluate("select => select === document.activeElement")
    reader.get_by_label("Search in all turns").focus()
    status.locator("option", has_text="pending (0)").wait_for(state="attached")
    status.select_option("")
    assert reader.get_by_role("status").inner_text() == "15 of 15"
