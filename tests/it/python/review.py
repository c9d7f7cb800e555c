"""Reviews and approves a plan in a real browser, as an approver does, and looks at each page with axe. Then an operator
carries it out on the command line, while the page tells how far it is, and the certificate is opened.

    review.py URL REQUEST NAME PASSWORD PROGRAM LAKE [FOLDER]

Prints a line of JSON for each page: its name, and what axe finds against WCAG 2.2 AA. With FOLDER, pictures of the
pages are left there, in both colour schemes.
"""

import json
import pathlib
import signal
import subprocess
import sys
import time

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}


class Reader:
    def __init__(self, page, folder):
        self.page = page
        self.folder = folder

    def look(self, name):
        """Looks at the page as it is: in light and dark, wide and narrow."""
        for scheme in ["light", "dark"]:
            self.page.emulate_media(color_scheme=scheme)
            for width in [1280, 320]:
                self.page.set_viewport_size({"width": width, "height": 900})
                self.check(f"{name}-{scheme}-{width}")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1280, "height": 900})

    def check(self, name):
        found = Axe().run(self.page, options=RULES).response["violations"]
        wide = self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        told = [f"{it['id']}: {it['nodes'][0]['html']}" for it in found]
        print(json.dumps({"page": name, "violations": told, "is_too_wide": wide}))
        if self.folder and name.endswith("1280"):
            self.folder.mkdir(parents=True, exist_ok=True)
            height = min(self.page.evaluate("document.documentElement.scrollHeight"), 1500)
            clip = {"x": 0, "y": 0, "width": 1280, "height": height}
            picture = self.folder / f"{name.removesuffix('-1280')}.png"
            self.page.screenshot(path=picture, full_page=True, clip=clip)


def keys(page):
    return page.locator("table:has(caption:text('Objects that change')) td.key:nth-child(4)").all_inner_texts()


def watch(page, reader, run):
    """Looks at a run under way, which waits as long as somebody looks; then the page comes to its end by itself."""
    try:
        progress = page.get_by_role("progressbar")
        deadline = time.monotonic() + 30
        while progress.count() == 0:
            assert run.poll() is None and time.monotonic() < deadline, "the run was seen under way"
            page.reload()
        run.send_signal(signal.SIGSTOP)
        page.reload()
        assert page.locator("meta[http-equiv=refresh]").count() == 0, "it renews no more than what changes"
        ended, of = (int(progress.get_attribute(name)) for name in ("value", "max"))
        assert 0 <= ended < of, (ended, of)
        reader.look("progress")
        run.send_signal(signal.SIGCONT)
        page.get_by_role("heading", level=1).get_by_text("finished").wait_for()
        assert run.wait() == 0
    finally:
        run.kill()


def main(url, request, name, password, program, lake, folder=None):
    folder = pathlib.Path(folder) if folder else None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        # axe is put into the page, which our own policy would forbid any script.
        context = browser.new_context(bypass_csp=True)
        page = context.new_page()
        reader = Reader(page, folder)
        page.goto(url)
        reader.look("sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.keyboard.press("Enter")
        page.wait_for_url(url.rstrip("/") + "/")
        reader.look("plans")
        page.get_by_role("link", name=request).first.click()
        reader.look("plan")
        before = keys(page)
        page.get_by_role("columnheader").get_by_role("link", name="Rows").click()
        assert sorted(keys(page)) == sorted(before), "sorting keeps every object"
        page.get_by_label("Part of the key").fill(before[0])
        page.get_by_role("button", name="Show", exact=True).click()
        assert before[0] in keys(page) and len(keys(page)) < len(before), "the filter leaves fewer"
        page.get_by_role("button", name=f"Show rows of {before[0]}, masked").click()
        page.get_by_role("heading", name="Rows, masked").wait_for()
        assert page.get_by_role("cell", name="user").count() > 0, "the rows have names of fields"
        assert "ann@example" not in page.content(), "values are masked"
        reader.look("rows")
        page.go_back()
        prefix = page.locator("label[for=confirm] code").inner_text()
        page.get_by_label("Leave out " + before[0]).check()
        page.get_by_label("the beginning of the plan").fill(prefix)
        page.get_by_role("button", name="Approve").click()
        page.get_by_text("approved by").wait_for()
        reader.look("approved")
        watch(page, reader, subprocess.Popen([program, "erase", prefix, "--quiet"], cwd=lake, stdout=subprocess.DEVNULL))
        # What was left out still holds rows, which the certificate says.
        certificate = subprocess.run([program, "certificate", prefix], cwd=lake, capture_output=True)
        assert certificate.returncode == 13
        page.reload()
        page.get_by_role("link", name="The certificate").click()
        page.get_by_role("heading", name="Certificate of erasure").wait_for()
        reader.look("certificate")
        page.get_by_role("link", name="Requests").click()
        reader.look("requests")
        page.get_by_role("link", name=request).click()
        page.get_by_role("button", name="Identity verified").click()
        page.get_by_text("identity verified").wait_for()
        reader.look("request")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Name").wait_for()
        browser.close()


main(*sys.argv[1:])
