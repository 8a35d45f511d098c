import subprocess
import sys
import threading
import time

from llmkit.widgets.throttle import Throttle


def test_many_changes_are_drawn_once_at_the_end():
    """A burst is drawn at once and then as often as is allowed; the last state is always among what was drawn."""
    state, drawn, settled, began = 0, [], threading.Event(), time.monotonic()

    def draw():
        drawn.append(state)
        if state == 1000:
            settled.set()

    throttle = Throttle(draw, per_second=20)
    for number in range(1, 1001):
        state = number
        throttle.touch()
    assert settled.wait(60)
    assert drawn[-1] == 1000
    assert len(drawn) <= 2 + 20 * (time.monotonic() - began)


def test_flush_draws_now():
    """At the end nothing is left waiting, and no timer draws again."""
    drawn = []
    throttle = Throttle(lambda: drawn.append(1), per_second=0.01)
    throttle.touch()
    throttle.flush()
    count = len(drawn)
    throttle.touch()
    throttle.flush()
    assert len(drawn) == count + 1


def test_a_flush_beside_a_draw_leaves_the_rate_as_it_was():
    """A draw that was scheduled while a flush waited for its turn is the only one scheduled from then on."""
    drawn, drawing = [], threading.Event()

    def draw():
        drawn.append(time.monotonic())
        drawing.set()
        time.sleep(0.005)  # as long as a page takes

    throttle = Throttle(draw, per_second=50)
    throttle.touch()
    assert drawing.wait(60)
    threading.Thread(target=throttle.flush).start()
    while drawn[-1] < drawn[0] + 0.5:
        throttle.touch()
        time.sleep(0.0005)  # as between events
    assert len(drawn) <= 3 + 50 * (drawn[-1] - drawn[0])


def test_drawing_never_overlaps():
    """However many threads touch, one drawing ends before the next begins."""
    inside, overlaps, drawn = threading.Lock(), [], threading.Event()

    def draw():
        if not inside.acquire(blocking=False):
            overlaps.append(1)
            return
        drawn.set()
        inside.release()

    throttle = Throttle(draw, per_second=1000)
    threads = [threading.Thread(target=lambda: [throttle.touch() for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    throttle.flush()
    assert drawn.is_set()
    assert not overlaps


LAST_DRAW = """
import time, llmkit
from llmkit.widgets.throttle import Throttle
Throttle(lambda: (time.sleep(0.3), print("drawn", flush=True))).touch()
"""


def test_a_draw_under_way_is_waited_for_when_the_process_ends():
    """A thread that reads the catalog while Python ends could abort it."""
    ended = subprocess.run([sys.executable, "-c", LAST_DRAW], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "drawn\n", "")
