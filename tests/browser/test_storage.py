"""A bundle of answers that is larger than any text may be is taken in by the real server, which has a limit of its own."""

import numpy as np
import pytest
from playwright.sync_api import expect

from cache.bundle import pack
from cache.codec import encode
from cache.store import Store

MB = 2**20


@pytest.fixture
def bundle(tmp_path):
    """A bundle of more than 20 MB, which is the limit of a text."""
    store = Store(tmp_path / "answers")
    store.put("k", encode({"x": np.random.default_rng(0).random(3 * MB)}), {})
    file = tmp_path / "large.bundle"
    pack(store, ["k"], file, {})
    store.close()
    assert file.stat().st_size > 20 * MB
    return file


def test_a_large_bundle_is_unpacked(open_page, bundle):
    page = open_page("storage")
    page.locator(".st-key-bundle_file input[type=file]").set_input_files(bundle)
    unpack = page.get_by_role("button", name="Unpack", exact=True)
    expect(unpack).to_be_enabled()
    unpack.click()
    expect(page.get_by_text("Added 1 row on a model")).to_be_visible()
