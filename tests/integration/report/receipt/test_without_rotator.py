"""A receipt is verified by hand, as the documents say it: with openssl and Python alone."""

import base64
import json
import re
import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed25519

from rotator.report.receipt import envelope
from support.documents import blocks
from support.processes import clean

PAYLOAD = b'{"key_id":"9f2c41d07be3a655"}'
[RECIPE] = [one for one in blocks("reports") if one.section == "Verify it without rotator"]


def has_openssl():
    """True if there is an openssl of version 3 or later."""
    found = shutil.which("openssl")
    said = (
        subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
        if found
        else ""
    )
    return bool(re.match(r"OpenSSL ([3-9]|[1-9][0-9])\.", said))


@pytest.fixture
def signer(tmp_path):
    """What signs, its public key beside the receipt."""
    if not has_openssl():
        pytest.skip("there is no openssl of version 3 or later on the PATH")
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    (tmp_path / "audit.pem").write_bytes(private)
    (tmp_path / "audit.pem").chmod(0o600)
    kind = pem.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "audit.pub.pem").write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, kind))
    return envelope.read_signer(tmp_path / "audit.pem")


def by_hand(folder, text):
    """What the recipe says of a receipt with this text."""
    (folder / "9f2c41d0.json").write_text(text)
    recipe = RECIPE.text.replace("python3", f"{sys.executable} -I")
    return subprocess.run(
        ["sh", "-e", "-c", recipe],
        cwd=folder,
        env=clean({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_signed(tmp_path, signer):
    """What rotator signed is verified, the id of the key is that of rotator, and it is shown."""
    done = by_hand(tmp_path, envelope.seal(PAYLOAD, signer))

    assert (done.returncode, done.stderr) == (0, "")
    assert f"kind of the file: {envelope.PAYLOAD_TYPE}\n" in done.stdout
    for whose in ("of this key", "in the file"):
        assert re.search(rf"^id {whose}: +{signer.public_key.keyid}$", done.stdout, re.MULTILINE)
    assert "Signature Verified Successfully" in done.stdout
    assert json.loads(done.stdout.partition("Successfully\n")[2]) == json.loads(PAYLOAD)


def test_changed(tmp_path, signer):
    """What was changed is not verified, and not shown."""
    form = json.loads(envelope.seal(PAYLOAD, signer))
    form["payload"] = base64.b64encode(PAYLOAD.replace(b"9f", b"9e")).decode()

    done = by_hand(tmp_path, json.dumps(form))

    assert done.returncode == 1
    assert "Signature Verification Failure" in done.stdout + done.stderr
    assert "key_id" not in done.stdout
