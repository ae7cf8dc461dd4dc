"""A real headless browser: what it makes of a page, and what it complains about."""

import shutil
import subprocess
from dataclasses import dataclass

MISSING = "there is no browser on the PATH: chromium or Chrome"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find():
    """The browser of this machine, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Opened:
    """The page as the browser has built it, and what it said on its console or elsewhere."""

    document: str
    console: list[str]


def open_page(browser, page, profile, *, width=1000, dark=False):
    """Open a file in the browser, with a *profile* folder of its own."""
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",  # tests run as root in containers, where it refuses to start with one
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
            f"--window-size={width},2000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Opened(done.stdout, console)
