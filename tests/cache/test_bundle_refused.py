"""Bundles from elsewhere: whatever PruneScope did not write is refused before anything is stored."""

import hashlib
import io
import json
import os
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.bundle import VERSION, BundleError, Unpacked, pack, unpack
from cache.codec import encode
from cache.store import Store

GOOD, ABOUT = encode({"x": np.arange(2)}), {"n": 2, "é": None}
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.sampled_from(["version", "told", "rows", "key", "about", "bytes", "sha256"])


class Shelf:
    """A store in memory."""

    def __init__(self, limit: int = 10**9) -> None:
        self.limit, self.rows = limit, {}

    def has(self, key: str) -> bool:
        return key in self.rows

    def put(self, key: str, payload: bytes, about: dict) -> None:
        self.rows[key] = payload, about


@pytest.fixture
def small(tmp_path) -> bytes:
    """A bundle of one answer."""
    store = Store(tmp_path / "answers")
    store.put("b/b", GOOD, ABOUT)
    pack(store, ["b/b"], tmp_path / "small", {"model": "m"})
    store.close()
    return (tmp_path / "small").read_bytes()


def crafted(manifest: object, *payloads: bytes, compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    """A zip archive like a bundle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, payload in enumerate(payloads):
            archive.writestr(str(number), payload, compression)
        archive.writestr("bundle.json", manifest if isinstance(manifest, bytes) else json.dumps(manifest))
    return file


def row(payload: bytes, **other: object) -> dict:
    digest = hashlib.sha256(payload).hexdigest()
    return {"key": "k", "about": {}, "bytes": len(payload), "sha256": digest} | other


def listed(*rows: object, **other: object) -> dict:
    return {"version": VERSION, "told": {}, "rows": list(rows)} | other


def refused(file: object, complaint: str, limit: int = 10**9) -> None:
    shelf = Shelf(limit)
    with pytest.raises(BundleError, match=complaint):
        unpack(shelf, file)
    assert shelf.rows == {}


def test_every_flipped_bit_is_refused_or_changes_nothing(small):
    noticed = 0
    for place in range(len(small)):
        for bit in range(8):
            damaged = bytearray(small)
            damaged[place] ^= 1 << bit
            shelf = Shelf()
            try:
                assert unpack(shelf, io.BytesIO(damaged)) == Unpacked(1, 0, {"model": "m"}), (place, bit)
                assert shelf.rows == {"b/b": (GOOD, ABOUT)}, (place, bit)
            except BundleError as error:
                noticed += 1
                assert shelf.rows == {} and str(error).endswith((".", "PruneScope")), (place, bit)
    assert noticed > len(small) * 5  # the rest are dates and attributes that nobody reads


def test_every_cut_is_refused(small):
    for length in range(len(small)):
        refused(io.BytesIO(small[:length]), r"\.$")


@given(st.binary(max_size=300), st.integers(0, 1000))
@settings(deadline=None, max_examples=300)
def test_random_bytes_are_refused(data, cut):
    refused(io.BytesIO(data), "damaged, or is not a PruneScope bundle")
    start = crafted(listed()).getvalue()
    with suppress(BundleError):  # and behind the beginning of a bundle
        assert unpack(Shelf(), io.BytesIO(start[:cut] + data)).added == 0


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=8))
@settings(deadline=None, max_examples=200)
def test_any_other_manifest_is_refused(value):
    for manifest in (value, listed(value), listed(row(b""), value), listed() | {"told": [value]}):
        refused(crafted(manifest), r"\.$")


@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=5), PLAIN, max_size=3), st.text(max_size=5))
@settings(deadline=None, max_examples=200)
def test_any_answer_under_its_right_digest_is_taken_or_refused(payload, about, key):
    with suppress(BundleError):
        unpack(Shelf(), crafted(listed(row(payload, about=about, key=key)), payload))
    planted = io.BytesIO()
    with zipfile.ZipFile(planted, "w") as archive:
        archive.writestr("tree.json", json.dumps({"x": {"\0array": 0}, "about": about}))
        archive.writestr("0.npy", b"\x93NUMPY\x01\x00" + bytes([len(payload), 0]) + payload)
    answer = planted.getvalue()
    refused(crafted(listed(row(answer, about=about)), answer), "not a readable result")


def test_a_missing_file_is_a_sentence(tmp_path):
    refused(tmp_path / "missing", "There is no file .*missing. Choose a bundle")


@pytest.mark.parametrize("name", ["x" * 3000, "nul\0", "."], ids=range(3))
def test_a_name_that_no_bundle_has_is_a_sentence(tmp_path, name):
    refused(tmp_path / name, r"damaged|not a regular file")


def test_a_pipe_is_no_bundle(tmp_path):
    """Opening it would wait for somebody who writes."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        refused(tmp_path / name, "is not a regular file")


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (listed(version=VERSION + 1), f"newer PruneScope .format {VERSION + 1}, here {VERSION}.: update PruneScope"),
        ({"version": 10**30}, "update PruneScope"),
        (listed(version=True), "was not written by PruneScope"),
        (listed(version=0), "was not written by PruneScope"),
        (listed(more=1), "was not written by PruneScope"),
        (b"[" * 100_000, "damaged"),
        (b"\xff", "damaged"),
        (listed(told=[]), "told must be an object"),
        (listed(rows={}), "rows a list"),
        (listed(row(GOOD, key=1)), "Row 0 .* needs key, about, bytes, sha256"),
        (listed(row(GOOD, about=[])), "Row 0"),
        (listed(row(GOOD, bytes=float(len(GOOD)))), "Row 0"),
        (listed(row(GOOD, sha256=None)), "Row 0"),
        (listed(row(GOOD, more=1)), "Row 0"),
        (listed(row(GOOD, key="")), "1 to 200 printable characters"),
        (listed(row(GOOD, key="k" * 201)), "1 to 200 printable characters"),
        (listed(row(GOOD, key="a\nb")), "1 to 200 printable characters"),
        (listed(row(GOOD, key="\ud800")), "1 to 200 printable characters"),
        (listed(row(GOOD, bytes=len(GOOD) - 1)), "is missing or does not have"),
        (listed(row(GOOD, bytes=-1)), "is missing or does not have"),
        (listed(row(GOOD), row(GOOD, key="l")), "Answer 1 of this bundle is missing"),
        (listed(), "members that belong to none"),
        (listed(row(GOOD, sha256="0" * 64)), "Answer 0 of this bundle is damaged: its sha256"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(manifest, complaint):
    refused(crafted(manifest, GOOD), complaint)


def test_two_answers_of_one_key_are_refused():
    refused(crafted(listed(row(GOOD), row(GOOD)), GOOD, GOOD), "names an answer twice")


def test_all_are_checked_before_the_first_is_stored():
    bad = b"PK nonsense"
    refused(crafted(listed(row(GOOD), row(bad, key="l")), GOOD, bad), "These 11 bytes are not a readable result")


def test_any_other_zip_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("picture.png", b"")
    refused(file, "bundle.json is missing")


def test_a_bomb_is_refused_before_it_is_read():
    bomb = bytes(10**7)
    packed = crafted(listed(row(bomb)), bomb, compression=zipfile.ZIP_DEFLATED)
    assert len(packed.getvalue()) < 20_000
    refused(packed, "compressed members")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("bundle.json", json.dumps(listed()) + " " * 10**6, zipfile.ZIP_DEFLATED)
    refused(file, "compressed members")


def test_members_that_overlap_are_refused():
    """Fifty members that all begin at the same place: 1 MB that would be read as 50."""
    payload = encode({"x": np.zeros(125_000)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("0", payload)
        rows = [row(payload, key=f"k{number}") for number in range(50)]
        archive.writestr("bundle.json", json.dumps(listed(*rows)))
        for number in range(1, 50):
            twin = zipfile.ZipInfo(str(number))
            twin.file_size = twin.compress_size = len(payload)
            twin.CRC, twin.header_offset = archive.getinfo("0").CRC, 0
            archive.filelist.append(twin)
    refused(file, "declares more bytes than it has")


def test_more_than_the_store_takes_is_refused():
    bundle = crafted(listed(row(GOOD), row(GOOD, key="l")), GOOD, GOOD)
    refused(bundle, "the store takes .*: raise the limit", limit=2 * len(GOOD) - 1)
    assert unpack(Shelf(limit=2 * len(GOOD)), bundle).added == 2


def test_a_manifest_or_an_answer_that_is_too_long_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("cache.bundle.LARGEST", len(GOOD) - 1)
    refused(crafted(listed(row(GOOD)), GOOD), "the store takes .* at once")
    monkeypatch.setattr("cache.bundle._LONGEST", 10)
    refused(crafted(listed()), "has more than 10 bytes")
    with pytest.raises(BundleError, match="too many for one bundle: choose fewer"):
        pack(Shelf(), [], tmp_path / "file", {})


def test_nothing_in_a_bundle_runs(tmp_path):
    class Boom:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    planted, answer = io.BytesIO(), io.BytesIO()
    np.save(planted, np.array([Boom()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(answer, "w") as archive:
        archive.writestr("tree.json", json.dumps({"x": {"\0array": 0}}))
        archive.writestr("0.npy", planted.getvalue())
    refused(crafted(listed(row(answer.getvalue())), answer.getvalue()), "not a readable result")
    assert not (tmp_path / "ran").exists()
