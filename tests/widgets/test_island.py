import nbformat
from nbclient import NotebookClient

ENDS_WHILE_SHOWN = """
import threading
import ipywidgets
from llmkit.widgets.island import Island

states = iter(["running", "ended"])

def static():
    state = next(states)
    if state == "running":
        saving.start()
        saving.join(0.5)  # an island in order lets it wait
    return f"<b>{state}</b>", state

island = Island(ipywidgets.HTML(), static)
saving = threading.Thread(target=island.save)
island.show()
saving.join()
"""


def test_a_run_that_ends_while_its_panel_is_first_shown_is_saved_as_ended():
    """The update from another thread never overtakes the output that it updates."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ENDS_WHILE_SHOWN)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (saved,) = notebook.cells[0].outputs
    assert saved.data["text/plain"] == "ended"
