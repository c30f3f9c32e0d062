"""What tests of bundled plugins share."""

import threading

import pytest
from physionet_server import Library


@pytest.fixture
def server():
    """A web server on this machine, without files yet."""
    library = Library()
    thread = threading.Thread(target=library.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield library
    library.shutdown()
    library.server_close()
