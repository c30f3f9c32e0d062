"""What tests of bundled plugins share."""

import threading

import pytest
from physionet_server import Library


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache of the module's own, whose entries no other test has made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALELAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def server():
    """A web server on this machine, without files yet."""
    library = Library()
    thread = threading.Thread(target=library.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield library
    library.shutdown()
    library.server_close()
