"""The dashboard in Chromium, as a person walks through it: by mouse, by keyboard, on a desk and on a phone.

Pictures of what was seen are written to build/screenshots.
"""

import contextlib
import datetime as dt
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, TimeoutError, expect, sync_playwright

from tests.conftest import MISSING_BROWSER

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SIZES = {"desk": (1360, 900), "phone": (390, 844)}
PATIENCE_MS = 60_000  # this machine may be busy with other tests
POSITIVE = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "min_value": 0}}


@pytest.fixture(scope="session")
def chromium():
    """Its path. Where there is none, tests/conftest.py says at the end of the session what was not tested."""
    if found := next(filter(None, map(shutil.which, BROWSERS)), None):
        return found
    missing = f"none of {', '.join(BROWSERS)} is installed. Next: {MISSING_BROWSER}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def address(pipeline):
    """The dashboard's, started as a user starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "dashboard", "--port", str(port), "--no-open"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SLUICE_HOME": str(pipeline.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"http://127.0.0.1:{port}/_stcore/health"):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return answer.status == 200
    return False


@pytest.fixture(scope="module", params=SIZES)
def context(request, chromium, tmp_path_factory):
    """A browser with an empty profile; `context.size` is "desk" or "phone", `context.outside` what it asked others."""
    width, height = SIZES[request.param]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            args=FLAGS.split(),
            viewport={"width": width, "height": height},
        )
        browser.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        browser.size, browser.outside = request.param, []
        own = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")
        browser.on("request", lambda r: None if r.url.startswith(own) else browser.outside.append(r.url))
        yield browser
        browser.close()


@pytest.fixture
def page(context, address):
    page = context.new_page()
    yield page
    page.close()
    assert context.outside == []


@pytest.fixture(scope="module")
def loaded(pipeline):
    """The sources of the demo, and of the charts."""
    return {
        "weather": pipeline.run("weather", start="2012-01-01", end="2015-12-31", input="Oslo,Seattle"),
        "posts": pipeline.run("posts", embed=True),
        "market": pipeline.run("market", start="2005-01-03", end="2006-12-29"),
    }


@pytest.fixture
def quarantined(pipeline, declare, table):
    content = "".join(f'{{"id": {number}}}\n' for number in range(1, 41)) + '{"id": "no number"}\n'
    columns = {"id": "bigint not null"}
    return pipeline.run("files", input=declare(table, content, columns, suite={"expectations": [POSITIVE]}))


def shot(page: Page, context, name: str) -> None:
    """The whole page: Streamlit scrolls a part of it, so the window is made as high as that."""
    settled(page)
    width, height = SIZES[context.size]
    full = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(full + 20, height), 4000)})
    settled(page)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{context.size}.png")
    page.set_viewport_size({"width": width, "height": height})
    # nothing is wider than the window
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def settled(page: Page) -> None:
    """Until the script has run, nothing fades in any more, and what is drawn is as wide as its place."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    page.wait_for_function(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
            done(document.getAnimations().every((each) => each.playState !== "running")))))"""
    )


def open_page(page: Page, address: str, path: str, title: str) -> None:
    page.goto(address + path)
    expect(page.get_by_role("heading", name=title, exact=True, level=1)).to_be_visible()


def choose(page: Page, label: str, option: str) -> None:
    settled(page)
    box = page.get_by_role("combobox", name=label).first
    wanted = page.get_by_role("option", name=option, exact=True)
    for _ in range(10):
        if box.get_attribute("aria-expanded") != "true":
            box.click()
        with contextlib.suppress(TimeoutError):
            wanted.wait_for(timeout=5000)
            break  # not closed again by what moved meanwhile
    wanted.click()


def link(page: Page, name: str):
    return page.get_by_role("link", name=name, exact=True)


# --- runs ----------------------------------------------------------------------------------------


def test_what_an_address_or_a_value_holds_is_a_text_and_asks_no_other_host(page, context, address, loaded):
    hostile = "![a](https://evil.example/p.png) [Replay](https://evil.example) $5 and $6 :red[x]"
    page.goto(f"{address}/data?table=weather/weather&run={quote(hostile, safe='')}")
    expect(page.get_by_text(hostile).first).to_be_visible()
    page.get_by_text("Filter and sort").click()
    page.get_by_role("textbox", name="Value").fill(hostile)
    page.get_by_role("button", name="Add filter").click()
    expect(page.get_by_role("button", name=f"is {hostile}")).to_be_visible()
    expect(page.locator("[data-testid=stMain] img, .katex")).to_have_count(0)
    expect(link(page, "Replay")).to_have_count(0)


def test_a_run_is_found_opened_and_its_states_looked_at(page, context, address, loaded, quarantined):
    run_id = loaded["weather"].run_id
    open_page(page, address, "/", "Runs")
    expect(link(page, quarantined.run_id)).to_be_visible()
    shot(page, context, "runs")
    choose(page, "Source", "weather")
    expect(link(page, quarantined.run_id)).to_have_count(0)
    link(page, run_id).click()
    expect(page.get_by_role("heading", name=run_id, level=1)).to_be_visible()
    fetched, inserted = loaded["weather"].account[:2]
    expect(page.get_by_text(f"{fetched:,} fetched = {inserted:,} inserted")).to_be_visible()
    page.get_by_role("button", name="Publish: succeeded").click()
    expect(page.get_by_role("heading", name="Publish", level=3)).to_be_visible()
    expect(page.get_by_role("button", name="Publish: succeeded")).to_have_attribute("aria-pressed", "true")
    shot(page, context, "run")
    page.get_by_role("tab", name="Log").click()
    expect(page.get_by_text("INFO").first).to_be_visible()
    page.get_by_role("button", name="All runs").click()
    expect(page.get_by_role("heading", name="Runs", level=1)).to_be_visible()
    # the filter is as it was left
    expect(link(page, run_id)).to_be_visible()
    expect(link(page, quarantined.run_id)).to_have_count(0)


def test_states_are_chosen_by_keyboard_in_the_graph_and_in_the_list(page, context, address, loaded):
    run_id = loaded["weather"].run_id
    open_page(page, address, f"/?run={run_id}", run_id)
    first = page.get_by_role("button", name="Plan: succeeded")
    first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Plan", exact=True, level=3)).to_be_visible()
    # the focus stays where it was, and goes on from there
    expect(first).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", name="Plan", exact=True, level=3)).to_have_count(0)
    page.get_by_role("button", name="All states").focus()
    page.keyboard.press("Enter")
    link(page, "QualityGate").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="QualityGate", exact=True, level=3)).to_be_visible()


def test_back_goes_from_state_to_state_to_the_list_as_it_was_filtered(page, context, address, loaded):
    run_id = loaded["weather"].run_id
    open_page(page, address, "/", "Runs")
    choose(page, "Source", "weather")
    expect(page).to_have_url(f"{address}/?source=weather")
    link(page, run_id).click()
    expect(page.get_by_role("heading", name=run_id, level=1)).to_be_visible()
    for state in ("Plan", "Publish"):
        page.get_by_role("button", name=f"{state}: succeeded").click()
        expect(page.get_by_role("heading", name=state, exact=True, level=3)).to_be_visible()
        expect(page).to_have_url(f"{address}/?run={run_id}&state={state}")
    page.go_back()
    expect(page.get_by_role("heading", name="Plan", exact=True, level=3)).to_be_visible()
    expect(page.get_by_role("button", name="Plan: succeeded")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(link(page, "QualityGate")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Runs", level=1)).to_be_visible()
    expect(page).to_have_url(f"{address}/?source=weather")
    expect(link(page, run_id)).to_be_visible()
    expect(link(page, loaded["market"].run_id)).to_have_count(0)
    page.go_forward()
    expect(page.get_by_role("heading", name=run_id, level=1)).to_be_visible()


def test_a_run_appears_and_ends_on_the_page_without_a_reload(page, context, address, pipeline, record_property):
    open_page(page, address, "/", "Runs")
    name = f"seen-{context.size}-{time.time_ns()}"
    arn = pipeline.start("weather", name=name, start="2012-01-01", end="2015-12-31", input="Oslo,Seattle")
    link(page, name).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    # of the account, which nobody knows before the end; told by --junitxml
    expect(page.get_by_text(" fetched = ")).to_be_visible()
    seen = dt.datetime.now(dt.UTC)
    run = pipeline.wait(arn)
    finished = dt.datetime.fromisoformat(run.row["published_at"])
    record_property("seconds from publishing to the page", (seen - finished).total_seconds())
    expect(page.get_by_text(f"{run.row['fetched']:,} fetched = ")).to_be_visible()
    expect(page.get_by_role("button", name="Complete: succeeded")).to_be_visible()
    expect(page.get_by_text("so far")).to_have_count(0)


def test_a_run_that_failed_opens_with_the_state_that_it_failed_in(page, context, address, pipeline):
    failed = pipeline.run("files", input="/nothing/there.toml")
    open_page(page, address, f"/?run={failed.run_id}", failed.run_id)
    expect(page.get_by_role("heading", name="Plan", exact=True, level=3)).to_be_visible()
    expect(page.get_by_text(failed.error).first).to_be_visible()
    shot(page, context, "run-failed")


# --- quality -------------------------------------------------------------------------------------


def test_quality_leads_from_the_numbers_to_the_run(page, context, address, pipeline, quarantined):
    open_page(page, address, "/quality", "Quality")
    expect(page.get_by_text("Verdict warn")).to_be_visible()
    expect(page.locator("canvas, .vega-embed svg").first).to_be_visible()
    shot(page, context, "quality")
    page.get_by_role("link", name="See the rows in quarantine").click()
    expect(page.get_by_role("heading", name="Quarantine", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Replay these rows")).to_be_visible()
    shot(page, context, "quarantine")
    [(row,)] = pipeline.query("SELECT id FROM pipeline.quarantine WHERE run_id = %s", quarantined.run_id)
    link(page, f"files {row}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("no number").first).to_be_visible()
    dialog.get_by_role("button", name=f"Open the run {quarantined.run_id}").click()
    expect(page.get_by_role("heading", name=quarantined.run_id, level=1)).to_be_visible()
    expect(page.get_by_text("no number").first).to_be_visible()


def test_a_replay_is_asked_about_before_it_is_done(page, context, address, pipeline, quarantined):
    replays = "SELECT count(*) FROM pipeline.quarantine WHERE run_id = %s AND replays > 0"
    # from the run to its rows
    open_page(page, address, f"/?run={quarantined.run_id}", quarantined.run_id)
    page.get_by_role("link", name="See them in quarantine, replay or discard them").click()
    expect(page.get_by_text(f"Rows that the run {quarantined.run_id} set aside")).to_be_visible()
    page.get_by_role("button", name="Replay these rows").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("judged again")).to_be_visible()
    shot(page, context, "replay")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert pipeline.query(replays, quarantined.run_id) == [(0,)]
    page.get_by_role("button", name="Replay these rows").click()
    dialog.get_by_role("button", name="Replay", exact=True).click()
    told = page.get_by_text(f"1 row of {quarantined.run_id}: the replay").first
    expect(told).to_be_visible()
    replay = told.inner_text().split("the replay ")[1].split()[0]
    page.get_by_role("link", name=f"See {replay}").click()
    expect(page.get_by_role("heading", name=replay, level=1)).to_be_visible()
    # judged by the same rules it fails again
    expect(page.get_by_text("1 fetched").first).to_be_visible()


def test_one_row_is_discarded_from_its_own_dialog(page, context, address, pipeline, quarantined):
    [(row,)] = pipeline.query("SELECT id FROM pipeline.quarantine WHERE run_id = %s", quarantined.run_id)
    open_page(page, address, f"/quarantine?of={quarantined.run_id}", "Quarantine")
    link(page, f"files {row}").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard this row").click()
    asked = page.get_by_role("dialog", name="Discard these rows?")
    expect(asked.get_by_text(f"The row {row} is marked as not wanted")).to_be_visible()
    asked.get_by_role("textbox", name="Why they are not wanted").fill("a test order")
    shot(page, context, "discard")
    asked.get_by_role("button", name="Discard", exact=True).click()
    expect(page.get_by_text("1 row discarded")).to_be_visible()
    expect(page.get_by_text("Nothing waits in quarantine")).to_be_visible()
    settled = "SELECT outcome, why FROM pipeline.quarantine WHERE id = %s"
    assert pipeline.query(settled, row) == [("discarded", "a test order")]


# --- data ----------------------------------------------------------------------------------------


def test_rows_are_sorted_filtered_and_turned(page, context, address, loaded):
    open_page(page, address, "/data?table=weather/weather", "Data")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(page.get_by_text("Page 1, 50 rows")).to_be_visible()
    first = rows.first.inner_text()
    page.get_by_role("button", name="Next page").click()
    expect(page.get_by_text("Page 2, 50 rows")).to_be_visible()
    expect(rows.first).not_to_have_text(first)
    page.get_by_role("button", name="Previous page").click()
    expect(page.get_by_text("Page 1, 50 rows")).to_be_visible()
    page.get_by_text("Filter and sort").click()
    choose(page, "Filter by", "temperature_max")
    choose(page, "Condition", "at least")
    page.get_by_role("textbox", name="Value").fill("33")
    page.get_by_role("button", name="Add filter").click()
    remove = page.get_by_role("button", name="Remove: temperature_max at least 33")
    expect(remove).to_be_visible()
    choose(page, "Sort by", "temperature_max, largest first")
    expect(page.get_by_text("nothing follows")).to_be_visible()
    shot(page, context, "data")
    page.get_by_role("row").nth(1).get_by_role("link").click()
    expect(page.get_by_text(loaded["weather"].run_id).first).to_be_visible()
    expect(page.get_by_text("raw/source=weather").first).to_be_visible()
    page.keyboard.press("Escape")
    remove.click()
    expect(page.get_by_text("Page 1, 50 rows")).to_be_visible()


def test_back_goes_from_page_to_page_and_a_link_opens_the_same_elsewhere(page, context, address, loaded):
    open_page(page, address, "/data?table=weather/weather", "Data")
    expect(page.get_by_text("Page 1, 50 rows")).to_be_visible()
    page.get_by_text("Filter and sort").click()
    choose(page, "Sort by", "temperature_max, smallest first")
    expect(page).to_have_url(re.compile("sort=temperature_max"))
    for number in (2, 3):
        page.get_by_role("button", name="Next page").click()
        expect(page.get_by_text(f"Page {number}, 50 rows")).to_be_visible()
    shown, third = page.locator("tbody").inner_text(), page.url
    page.go_back()
    expect(page.get_by_text("Page 2, 50 rows")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("Page 1, 50 rows")).to_be_visible()
    expect(page).to_have_url(re.compile("sort=temperature_max"))
    page.go_back()
    expect(page).to_have_url(f"{address}/data?table=weather/weather")
    expect(page.get_by_text("Page 1, 50 rows")).to_be_visible()
    other = context.new_page()
    try:
        other.goto(third)
        expect(other.get_by_text("Page 3, 50 rows")).to_be_visible()
        assert other.locator("tbody").inner_text() == shown
    finally:
        other.close()


@pytest.mark.parametrize(("source", "charts"), [("weather", 1), ("market", 7), ("posts", 1)])
def test_rows_are_drawn(page, context, address, loaded, source, charts):
    open_page(page, address, f"/data?table={source}/{source}&view=Chart", "Data")
    drawn = page.get_by_test_id("stVegaLiteChart").locator("canvas, svg.marks")
    expect(drawn).to_have_count(charts)
    for place in range(charts):
        box = drawn.nth(place).bounding_box()
        assert box["width"] > 250 and box["height"] > 100, box
    shot(page, context, f"chart-{source}")


# --- search --------------------------------------------------------------------------------------


def test_what_is_searched_for_is_found_and_marked(page, context, address, loaded):
    open_page(page, address, "/search", "Search")
    expect(page.get_by_text("Type what you look for")).to_be_visible()
    page.get_by_role("textbox", name="Search for").fill("stopping insects that eat my plants")
    page.keyboard.press("Enter")
    expect(page.get_by_text("rows, best first")).to_be_visible()
    choose(page, "Find by", "Words")
    page.get_by_role("textbox", name="Search for").fill("plants")
    page.keyboard.press("Enter")
    expect(page.get_by_text("words: place 1").first).to_be_visible()
    expect(page.locator("mark").first).to_be_visible()
    shot(page, context, "search")
