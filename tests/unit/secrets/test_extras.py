"""The providers that need a library which is not always there."""

import subprocess
import sys

import pytest

from rotator.errors import SecretError
from rotator.secrets.provider import PROVIDERS, provider_from_url
from support.vendor_servers import PLANTED, refused

LIBRARIES = {
    "hashivault": ("hvac", "vault"),
    "hashivaults": ("hvac", "vault"),
    "hashivault+https": ("hvac", "vault"),
    "hashivault+http": ("hvac", "vault"),
    "awssecretsmanager": ("boto3", "aws"),
    "azurekeyvault": ("azure.identity", "azure"),
    "conjur": ("requests", "conjur"),
    "delinea": ("requests", "delinea"),
    "cyberarkccp": ("requests", "ccp"),
}


def test_every_provider_is_here():
    """Each scheme needs a library, except the two that need none."""
    assert LIBRARIES.keys() | {"env", "secretfile"} == PROVIDERS.keys()


@pytest.mark.parametrize(("scheme", "needs"), LIBRARIES.items())
def test_missing(caplog, monkeypatch, scheme, needs):
    """Without its library a provider says which extra brings it."""
    library, extra = needs
    for module in (PROVIDERS[scheme][0], "rotator.secrets.http"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    error = refused(
        caplog,
        lambda: provider_from_url(f"{scheme}://h/a?token={PLANTED}"),
        f"{scheme}://",
        library,
        kind=SecretError,
    )
    assert error.hint == f"pip install 'redis-rotator[{extra}]'"


def test_imported_on_demand():
    """No library is imported before its provider is asked for."""
    libraries = sorted({library for library, _ in LIBRARIES.values()})
    code = (
        f"import sys, rotator.secrets.provider; print([x for x in {libraries} if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
