"""The HTML page in a real browser: no errors, no requests, a filter that works, text as text.

Needs Debian's `chromium` and `chromium-driver`.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envlock.report.formats import render
from tests.unit.report.documents import ALL, HOSTILE, check_document, drift_document

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]

DESKTOP, PHONE = (1280, 900), (375, 740)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: `apt-get install chromium chromium-driver`")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


class Site:
    """Serves the rendered pages and counts what is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                super().do_GET()

            def end_headers(self) -> None:
                self.send_header("Cache-Control", "no-store")
                super().end_headers()

            def log_message(self, *args: object) -> None:
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for name, document in ALL.items():
        (folder / f"{name.replace(' ', '-')}.html").write_text(
            render(document, "html"), encoding="utf-8"
        )
    served = Site(folder)
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def page(browser: Any, site: Site) -> Callable[..., Any]:
    def show(name: str, size: tuple[int, int] = DESKTOP, **media: str) -> Any:
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
        )
        features = [{"name": key.replace("_", "-"), "value": v} for key, v in media.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get("about:blank")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        site.requests.clear()
        browser.get(f"{site.url}/{name.replace(' ', '-')}.html")
        return browser

    return show


def asked_for(browser: Any) -> list[str]:
    """Every address that the browser asked any server for since the page was opened."""
    import json

    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            if not url.startswith(("data:", "about:", "chrome:")):
                found.append(url)
    return found


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ALL)
def test_no_errors_and_no_requests(
    page: Callable[..., Any], site: Site, name: str, size: tuple[int, int]
) -> None:
    opened = page(name, size)
    assert opened.get_log("browser") == []
    assert asked_for(opened) == [opened.current_url]
    assert site.requests == [f"/{name.replace(' ', '-')}.html"]
    # Nothing sticks out sideways, not even a name of 3,000 letters.
    assert opened.execute_script("return document.documentElement.scrollWidth") <= size[0]


def visible(browser: Any) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('[data-text]')]"
        ".filter(e => e.checkVisibility({contentVisibilityAuto: true}))"
        ".map(e => e.querySelector('h3, strong').textContent)"
    )


def test_the_verdict_stands_first(page: Callable[..., Any]) -> None:
    opened = page("check")
    first = opened.execute_script(
        "return document.body.innerText.split('\\n').filter(line => line.trim()).slice(0, 2)"
    )
    assert first[0] == "incompatible"
    assert first[1].startswith("Of 5 plugins, 1 is incompatible")
    assert opened.title.startswith("Plugin check: Of 5 plugins")


def test_the_filter(page: Callable[..., Any]) -> None:
    from selenium.webdriver.common.by import By

    opened = page("check")
    everything = ["_matcher_ops.so", "_sentence ops.so", "_broken.so", "_topk.so", "_zero_out.so"]
    assert visible(opened) == everything
    chips = {
        b.get_attribute("textContent"): b
        for b in opened.find_elements(By.CSS_SELECTOR, ".chips button")
    }
    assert list(chips) == [
        *("all 5", "incompatible 1", "unsafe 1", "unreadable 1", "drifted 1", "compatible 1"),
    ]
    chips["unsafe 1"].click()
    assert visible(opened) == ["_sentence ops.so"]
    status = opened.find_element(By.ID, "status")
    assert status.text == "1 of 5 shown"
    assert chips["unsafe 1"].get_attribute("aria-pressed") == "true"
    chips["all 5"].click()
    assert visible(opened) == everything
    search = opened.find_element(By.ID, "search")
    search.send_keys("python 3.11.7")
    assert visible(opened) == ["_matcher_ops.so", "_topk.so"]
    search.send_keys(" nothing at all")
    assert visible(opened) == []
    assert status.text == "0 of 5 shown"
    search.clear()
    search.send_keys("x\b")
    assert visible(opened) == everything


def test_the_filter_opens_the_fold(page: Callable[..., Any]) -> None:
    from selenium.webdriver.common.by import By

    opened = page("drift")
    assert "protobuf" not in visible(opened)
    opened.find_element(By.ID, "search").send_keys("protobuf")
    assert visible(opened) == ["protobuf"]


def test_only_the_keyboard(page: Callable[..., Any]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    opened = page("check")
    keys = ActionChains(opened)
    keys.send_keys(Keys.TAB, "topk", Keys.TAB, Keys.TAB, Keys.ENTER).perform()
    assert visible(opened) == []  # "topk" and "incompatible" together
    active = opened.execute_script("return document.activeElement.textContent.trim()")
    assert active.startswith("incompatible")
    outline = opened.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("name", ["hostile check", "hostile drift"])
def test_hostile_names_are_text(page: Callable[..., Any], name: str) -> None:
    opened = page(name)
    opened.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    text = opened.execute_script("return document.body.textContent")
    for one in HOSTILE:
        if one.isprintable():
            assert one.replace("`", "") in text.replace("`", "")
    assert "\\x1b[31mred" in text
    assert "\\u202egnp.exe" in text
    # No element and no handler came out of a name.
    assert (
        opened.execute_script(
            "return document.querySelectorAll('body script').length + "
            "document.querySelectorAll('img, iframe, object, embed, a, form').length"
        )
        == 1
    )
    handlers = opened.execute_script(
        "return [...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
        ".filter(a => a.name.startsWith('on') || a.name === 'style').length"
    )
    assert handlers == 0
    shapes = opened.execute_script("return document.querySelectorAll('svg[onload]').length")
    assert shapes == 0


def test_a_script_that_got_in_would_not_run(page: Callable[..., Any], site: Site) -> None:
    """The page's own policy is the second lock: escaping is switched off here, by hand."""
    text = render(check_document(), "html").replace(
        "</main>", "<script>document.title = 'owned'</script><img src=/leak.png></main>"
    )
    (site.folder / "broken.html").write_text(text, encoding="utf-8")
    opened = page("broken")
    assert opened.title != "owned"
    assert site.requests == ["/broken.html"]
    assert len(opened.get_log("browser")) == 2


def test_without_script_everything_is_readable(page: Callable[..., Any]) -> None:
    opened = page("drift")
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened.get(opened.current_url)
        answer = opened.execute_cdp_cmd("DOM.getDocument", {"depth": -1})
        assert answer["root"]
        from selenium.webdriver.common.by import By

        assert not opened.find_element(By.CSS_SELECTOR, ".tools").is_displayed()
        fold = opened.find_element(By.CSS_SELECTOR, ".fold summary")
        fold.click()
        assert "protobuf" in opened.find_element(By.CSS_SELECTOR, ".changes").text
    finally:
        opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_print_opens_everything_and_drops_the_tools(
    page: Callable[..., Any], tmp_path: Path
) -> None:
    import base64

    opened = page("drift")
    closed = "return document.querySelectorAll('details:not([open])').length"
    assert opened.execute_script(closed) > 0
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script(closed) == 0
    opened.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script(closed) > 0
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    tools = "return getComputedStyle(document.querySelector('.tools')).display"
    assert opened.execute_script(tools) == "none"
    raw = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert raw.startswith(b"%PDF-")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: Callable[..., Any], scheme: str) -> None:
    """WCAG 2.1 AA: 4.5 to 1 for every piece of text, in both colour schemes."""
    opened = page("drift", prefers_color_scheme=scheme)
    opened.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    pairs = opened.execute_script(
        """
        const found = [];
        const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
          const element = walk.currentNode.parentElement;
          if (!walk.currentNode.data.trim() || !element.offsetParent) continue;
          let back = element;
          while (back && getComputedStyle(back).backgroundColor === 'rgba(0, 0, 0, 0)')
            back = back.parentElement;
          found.push([getComputedStyle(element).color,
            getComputedStyle(back || document.body).backgroundColor,
            walk.currentNode.data.trim()]);
        }
        return found;
        """
    )
    assert len(pairs) > 60
    for front, back, text in pairs:
        assert contrast(front, back) >= 4.5, (text, front, back)


def contrast(front: str, back: str) -> float:
    lights = sorted(map(luminance, (front, back)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    values = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_structure_for_screen_readers(page: Callable[..., Any]) -> None:
    opened = page("drift")
    answer = opened.execute_script(
        """
        const levels = [...document.querySelectorAll('h1, h2, h3')].map(h => h.tagName);
        return {
          lang: document.documentElement.lang,
          landmarks: ['header', 'main', 'footer'].map(n => document.querySelectorAll(n).length),
          h1: levels.filter(l => l === 'H1').length,
          first: levels[0],
          labelled: [...document.querySelectorAll('section')].every(
            s => document.getElementById(s.getAttribute('aria-labelledby'))),
          input: document.querySelector('input').labels.length,
          icons: [...document.querySelectorAll('svg')].every(
            s => s.getAttribute('aria-hidden') === 'true'),
          status: document.getElementById('status').getAttribute('role'),
          ids: new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size
            === document.querySelectorAll('[id]').length,
        };
        """
    )
    assert answer == {
        "lang": "en",
        "landmarks": [1, 1, 1],
        "h1": 1,
        "first": "H1",
        "labelled": True,
        "input": 1,
        "icons": True,
        "status": "status",
        "ids": True,
    }


def test_every_verdict_has_a_word_and_a_shape() -> None:
    """Colour is never the only sign."""
    text = render(check_document(), "html")
    for word in ("incompatible", "unsafe", "drifted", "compatible", "unreadable"):
        assert f"</svg>{word}</span>" in text
    shapes = set(re.findall(r'<svg[^>]*>.*?<path d="([^"]+)" stroke-width="2"', text))
    assert len(shapes) == 5


def test_screenshots_can_be_kept(page: Callable[..., Any]) -> None:
    """With ENVLOCK_SCREENSHOTS=FOLDER the pages are photographed, for README and for looking at."""
    opened = page("drift")
    picture = opened.get_screenshot_as_png()
    assert picture.startswith(b"\x89PNG")
    folder = os.environ.get("ENVLOCK_SCREENSHOTS")
    if folder:
        with contextlib.suppress(FileExistsError):
            os.makedirs(folder)
        for name, size, media in (
            ("drift", DESKTOP, {}),
            ("drift", PHONE, {}),
            ("check", DESKTOP, {"prefers_color_scheme": "dark"}),
        ):
            label = "-".join([name, "phone" if size == PHONE else "desktop", *media.values()])
            page(name, size, **media).save_screenshot(os.path.join(folder, f"{label}.png"))


def test_drift_and_check_have_the_same_look() -> None:
    heads = [
        render(d, "html").split("<style>")[1].split("</style>")[0]
        for d in (check_document(), drift_document())
    ]
    assert heads[0] == heads[1]
