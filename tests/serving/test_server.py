"""The server as a process: when it is ready, what it counts, its headers, whose host it is, and when it does not start."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
import streamlit
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server import free_port, serving, started
from pages.serving import splash
from pages.serving.guard import HEADERS, host_allowed
from tests.serving.server import get


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("serving") / "data") as running:
        yield running.address


def test_it_is_ready(server):
    status, body, headers = get(f"{server}/ready")
    assert status == 200 and json.loads(body) == {"ready": True} and headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/", "/ready", "/metrics", "/similarity", "/_stcore/health", "/static/none.js"])
def test_every_answer_has_its_headers(server, path):
    _, _, headers = get(server + path)
    assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"].split("; ")
    assert "frame-ancestors 'self'" in policy and "img-src 'self' data: blob:" in policy


def test_the_logo_is_there_before_any_script(server):
    for path in splash.PATHS:
        status, body, headers = get(server + path)
        assert status == 200 and headers["content-type"].startswith("text/html") and headers["cache-control"] == "no-cache"
        assert "<title>PruneScope</title>" in body and '<div id="root"><style>' in body and 'font-weight="700"' in body
    index = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    assert re.findall("<(?:script|link)[^>]*>", body) == re.findall("<(?:script|link)[^>]*>", index)
    assert splash.with_splash("<p>another version's</p>") == "<p>another version's</p>"


def test_the_first_page_is_also_there_by_its_name(server):
    with urllib.request.urlopen(f"{server}/model?plan=a25&dtype=bfloat16") as answer:
        assert answer.url == f"{server}/?plan=a25&dtype=bfloat16" and answer.status == 200


def test_numbers_for_prometheus(server):
    for _ in range(2):  # nothing is registered twice
        status, body, headers = get(f"{server}/metrics")
        assert status == 200 and headers["content-type"].startswith("text/plain; version=")
    found = {sample.name: sample.value for family in text_string_to_metric_families(body) for sample in family.samples}
    assert found["prunescope_store_up"] == 1 and found["prunescope_store_limit_bytes"] == 10 * 2**30
    assert found["prunescope_queue_length"] == found["prunescope_generations"] == found["prunescope_store_rows"] == 0
    assert found["prunescope_hits_total"] == found["prunescope_misses_total"] == 0
    assert found["prunescope_resident_memory_bytes"] > 10**8 and "prunescope_jobs" in found


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "192.168.1.2:80"]
)
@pytest.mark.parametrize("path", ["/", "/metrics", "/_stcore/health"])
def test_no_other_host_is_answered_for(server, host, path):
    status, body, _ = get(server + path, Host=host)
    assert status == 400 and ("STREAMLIT_SERVER_ALLOWED_HOSTS" in body or "Invalid" in body)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8501"])
def test_this_machine_is(server, host):
    assert get(f"{server}/ready", Host=host)[0] == 200


def test_host_names():
    assert host_allowed("a.example.com:80", ["*.example.com"]) and not host_allowed("example.com", ["*.example.com"])
    assert not host_allowed("aexample.com", ["*.example.com"]) and host_allowed("anything", ["*"]) and host_allowed("any", [])
    assert host_allowed("Example.com.", ["example.COM"]) and not host_allowed("a@example.com", ["a"])


def test_a_store_that_is_damaged_is_told(tmp_path):
    (tmp_path / "data" / "answers").mkdir(parents=True)
    (tmp_path / "data" / "answers" / "cache.db").write_bytes(b"no database" * 999)
    with serving(tmp_path / "data") as running:
        status, body, _ = get(f"{running.address}/ready")
        assert status == 503 and "could not be" in json.loads(body)["why"]
        assert get(f"{running.address}/_stcore/health")[1] == "ok"


def test_a_data_directory_that_vanishes_is_told_and_missed_no_longer(tmp_path):
    data = tmp_path / "data"
    with serving(data) as running:
        assert get(f"{running.address}/ready")[0] == 200
        data.rename(tmp_path / "elsewhere")
        data.write_text("a file in its place")
        status, body, _ = get(f"{running.address}/ready")
        assert status == 503 and "data directory" in json.loads(body)["why"]
        data.unlink()
        (tmp_path / "elsewhere").rename(data)
        assert get(f"{running.address}/ready")[0] == 200


@pytest.mark.parametrize(
    "address, settings, says",
    [
        ("0.0.0.0", {}, "listens beyond this machine, and no login is required"),
        ("localhost", {"PRUNESCOPE_WINDOWS": "many"}, "PRUNESCOPE_WINDOWS is 'many'"),
        (
            "localhost",
            {"PRUNESCOPE_USER_HEADER": "X-User", "PRUNESCOPE_PROXIES": "127.0.0.1", "FORWARDED_ALLOW_IPS": "127.0.0.1"},
            "FORWARDED_ALLOW_IPS",
        ),
    ],
)
def test_it_does_not_start_and_says_why(tmp_path, address, settings, says):
    log = tmp_path / "log"
    process = started(tmp_path / "data", free_port(), log, address, settings)
    try:
        assert process.wait(60) != 0
    finally:
        process.kill()
    said = log.read_text()
    assert f"prunescope: {says}" in said or says in said
    assert "Traceback" not in said, said


def test_it_starts_beyond_this_machine_where_that_is_said_in_so_many_words(tmp_path):
    with serving(tmp_path / "data", "0.0.0.0", PRUNESCOPE_OPEN="yes") as running:
        assert get(f"{running.address}/ready")[0] == 200
