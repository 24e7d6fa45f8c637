"""All that concerns every test against peers."""
import os
import sys

import pytest

ended = []


def pytest_sessionfinish(exitstatus):
    ended.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    """Ends at once: threads of the readers' native libraries are not joined at exit, and one has aborted the process after all tests had passed."""
    sys.stdout.flush()
    sys.stderr.flush()
    if ended:
        os._exit(ended[0])
