"""The demo's entry, on a laptop and as a Space: ``python app.py``. Host and port: GRADIO_SERVER_NAME, GRADIO_SERVER_PORT."""

import gc
import sys

# The imports and the page make a million objects that stay; looking through them for garbage is a sixth of the start.
gc.disable()
# Seconds after which a thread that others wait for lets them have the interpreter: the event loop waits for several of them in turn, 5 ms each by default.
TURN_SECONDS = 0.001
# Objects made until the youngest are looked through for garbage, how often that happens until the older are, and how often that until all that is younger than
# the start is. By default the last was twice a second under load, 30 ms in which no thread runs, and found a few objects of no size: results of thousands of
# parts are alive, and pictures are in no cycles but of an answer that was cut off. Now it is once a minute.
COLLECTING = (700, 10, 1000)

from seg_demo.core.errors import SettingsError  # noqa: E402

# Before the page, because on ZeroGPU it imports `spaces`, which must come before anything that touches CUDA.
from seg_demo.inference import zerogpu  # noqa: E402
from seg_demo.gateway import metrics  # noqa: E402
from seg_demo.ui.demo import build_demo, check_machine, launch_arguments, load_ahead  # noqa: E402
from seg_demo.gateway.guard import bound_heads  # noqa: E402


def main() -> None:
    """Build the page, serve it, and load models behind it; on ZeroGPU before it, whose workers have only what is there."""
    try:
        demo = build_demo()
        arguments = launch_arguments(demo)
        check_machine()
        metrics.configure()
    except SettingsError as error:
        sys.exit(str(error))
    if zerogpu.ACTIVE:
        load_ahead().join()
        # What was garbage once loaded would be kept for good below: weights, too.
        gc.collect()
    demo.launch(**arguments, prevent_thread_lock=True)
    bound_heads(demo.server)
    # From here on garbage is collected, but never again looked for among what stays.
    gc.freeze()
    gc.set_threshold(*COLLECTING)
    gc.enable()
    sys.setswitchinterval(TURN_SECONDS)
    if not zerogpu.ACTIVE:
        load_ahead()
    demo.block_thread()


if __name__ == "__main__":
    main()
