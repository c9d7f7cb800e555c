"""Signs in by an identity provider in a real browser.

    sign_in.py URL PAGE SUBJECT

Opens a page of the server, goes to the provider as it offers, is SUBJECT there (`nobody`: refuses), and comes back. Prints JSON: where the
browser ended, and what is told there.
"""

import json
import sys

from playwright.sync_api import sync_playwright


def main(url, wanted, subject):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url + wanted)
        page.get_by_role("link", name="Sign in with your organisation").click()
        if subject == "nobody":
            page.get_by_role("button", name="Deny").click()
        else:
            page.get_by_role("button", name=subject).click()
        page.wait_for_url(url + "/**")
        page.get_by_text("Sign out").or_(page.locator("p.verdict")).first.wait_for()
        print(json.dumps({"path": page.url.removeprefix(url), "text": page.locator("body").inner_text()}))
        browser.close()


main(*sys.argv[1:])
