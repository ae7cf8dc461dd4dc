"""Secret references and the providers behind them."""

import copy
import dataclasses
import pickle
from importlib import import_module

import pytest

from rotator.config.types import SecretRef
from rotator.errors import ConfigError, SecretError, SourceError
from rotator.secrets.provider import PROVIDERS, Environment, SecretFile, provider_from_url

SECRET = "hunter2PLANTED"
FIELD = "caches[0].redis.password"


class Known:
    """A provider that knows what it is told."""

    def __init__(self, **secrets):
        self._secrets = secrets

    def get(self, name):
        """The secret, or the error that providers raise."""
        if name not in self._secrets:
            raise SecretError(f"<{name}>: not known", hint="add it")
        return self._secrets[name]


def refused(action, *words, kind=SecretError):
    """The error of *action*: it says every one of *words*, has a hint and shows no secret."""
    with pytest.raises(kind) as caught:
        action()
    error = caught.value
    assert type(error) is kind
    for word in words:
        assert word in str(error)
    assert error.hint
    for text in (str(error), error.hint, repr(error)):
        assert SECRET not in text
    return error


class TestSecretRef:
    """A reference, or the value itself."""

    @pytest.mark.parametrize("name", ["redis_password", "vault.redis", "a:b", "arn:aws:x/y", "a b"])
    def test_reference(self, name):
        """A whole scalar in angle brackets refers to a secret of the provider."""
        ref = SecretRef(f"<{name}>", FIELD)
        assert ref.is_reference
        assert ref.display == f"<{name}>"
        assert ref.resolve(Known(**{name: SECRET})) == SECRET

    @pytest.mark.parametrize("text", ["a<b>", "<b>a", "<>", "<a", "<a><b>", "<a\nb>", "ab"])
    def test_value(self, text):
        """Anything else is the value itself, whatever the provider."""
        ref = SecretRef(text, FIELD)
        assert not ref.is_reference
        assert ref.display == "***"
        assert ref.resolve(None) == text
        assert ref.resolve(Known(a="x", b="x")) == text

    def test_value_is_not_shown(self):
        """A value is neither in the repr nor in the text of its object."""
        ref = SecretRef(SECRET, FIELD)
        for text in (repr(ref), str(ref), f"{ref}", repr([ref])):
            assert SECRET not in text
            assert FIELD in text

    def test_value_is_not_pickled(self):
        """An object with a value in it refuses to be pickled or copied into something else."""
        ref = SecretRef(SECRET, FIELD)
        holder = dataclasses.make_dataclass("Holder", ["ref"])(ref)
        for action in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match=r"password holds a secret") as caught:
                action(ref)
            assert SECRET not in str(caught.value)
        with pytest.raises(TypeError):
            dataclasses.asdict(holder)

    @pytest.mark.parametrize(("text", "plain"), [("<a>", False), ("<a>", True), ("/x.pem", True)])
    def test_reference_and_plain_value_travel(self, text, plain):
        """What is no secret can be pickled, and comes back the same."""
        ref = SecretRef(text, FIELD, plain=plain)
        again = pickle.loads(pickle.dumps(ref))  # noqa: S301 - made one line above
        assert (again, again.plain, hash(again)) == (ref, plain, hash(ref))
        assert again.display == text

    def test_equal(self):
        """Two are equal when text and field are."""
        assert SecretRef("a", "f") == SecretRef("a", "f")
        assert SecretRef("a", "f") != SecretRef("a", "g")
        assert SecretRef("a", "f") != "a"

    def test_without_provider(self):
        """A reference without a provider is refused with the field and how to name a provider."""
        error = refused(lambda: SecretRef("<pw>", FIELD).resolve(None), FIELD, "<pw>")
        assert "--secret-provider" in error.hint
        assert "MAVERICS_SECRET_PROVIDER" in error.hint

    def test_unknown_name(self):
        """A name that the provider does not know is refused with the field."""
        error = refused(lambda: SecretRef("<pw>", FIELD).resolve(Known()), f"{FIELD}: <pw>: ")
        assert error.hint == "add it"

    def test_empty_secret(self):
        """An empty secret is a mistake."""
        refused(lambda: SecretRef("<pw>", FIELD).resolve(Known(pw="")), FIELD, "<pw> is empty")


class TestProviderFromUrl:
    """Schemes, and what is not said of a URL."""

    @pytest.mark.parametrize("url", [None, ""])
    def test_nothing_given(self, url):
        """No URL means no provider."""
        assert provider_from_url(url) is None

    @pytest.mark.parametrize("url", ["env://", "ENV://", " env:// "])
    def test_scheme_in_any_case(self, url):
        """The case of the scheme does not matter."""
        assert isinstance(provider_from_url(url), Environment)

    def test_every_registered_scheme_has_its_module(self):
        """Behind every scheme there is a module, which imports without any extra installed."""
        assert {"env", "secretfile"} <= PROVIDERS.keys()
        for module, factory, _ in PROVIDERS.values():
            assert callable(getattr(import_module(module), factory))

    def test_unknown_scheme(self):
        """An unknown scheme is refused with the known ones; the rest of the URL is not shown."""
        error = refused(
            lambda: provider_from_url(f"vaultt://host?token={SECRET}"), "vaultt:// is unknown"
        )
        assert "env://" in error.hint
        assert "secretfile://" in error.hint
        assert "host" not in str(error) + error.hint

    @pytest.mark.parametrize(
        "url", [SECRET, f"{SECRET}:x", f"//{SECRET}", f"1{SECRET}://", "a" * 99]
    )
    def test_no_url(self, url):
        """What is not a URL is not shown."""
        error = refused(lambda: provider_from_url(url), "not a URL")
        assert "env://" in error.hint


class TestEnvironment:
    """`env://`."""

    def test_known(self, monkeypatch):
        """The name is an environment variable."""
        monkeypatch.setenv("ROT_PW", SECRET)
        provider = provider_from_url("env://")
        assert SecretRef("<ROT_PW>", FIELD).resolve(provider) == SECRET
        assert SECRET not in repr(provider)

    def test_unknown(self, monkeypatch):
        """A variable that is not set is refused by name."""
        monkeypatch.delenv("ROT_PW", raising=False)
        ref = SecretRef("<ROT_PW>", FIELD)
        error = refused(lambda: ref.resolve(provider_from_url("env://")), FIELD, "<ROT_PW>")
        assert "ROT_PW" in error.hint

    def test_no_text(self, monkeypatch):
        """Bytes that are no UTF-8 are no secret, and do not break what uses it."""
        monkeypatch.setenv("ROT_PW", "a\udcff")
        ref = SecretRef("<ROT_PW>", FIELD)
        refused(lambda: ref.resolve(provider_from_url("env://")), FIELD, "is not text")

    def test_something_follows(self):
        """A name in the URL is a misunderstanding."""
        refused(lambda: provider_from_url(f"env://{SECRET}"), "env://")


class TestSecretFile:
    """`secretfile:///abs/path.yaml`."""

    TEXT = f"""\
secrets:
  flat: {SECRET}
  with.dot: dotted
  pem: |
    -----BEGIN CERTIFICATE-----
    AAAA
    -----END CERTIFICATE-----
  ns: {{key: nested, deep: {{er: deeper}}}}
  number: 012345678
  power: 0123e5
  hex: 0x0A
  word: yes
  long: 1_000
  date: 2026-11-23
  time: 12:30
  list: [{SECRET}]
  nothing:
vault: {{redis_password: top}}
"""

    @pytest.fixture
    def path(self, tmp_path):
        """A secret file with a blank in its name."""
        path = tmp_path / "my secrets.yaml"
        path.write_text(self.TEXT, encoding="utf-8")
        return path

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("flat", SECRET),
            ("with.dot", "dotted"),
            ("pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            ("ns.key", "nested"),
            ("ns.deep.er", "deeper"),
            ("vault.redis_password", "top"),
            ("number", "012345678"),
            ("power", "0123e5"),
            ("hex", "0x0A"),
            ("word", "yes"),
            ("long", "1_000"),
            ("date", "2026-11-23"),
            ("time", "12:30"),
        ],
    )
    def test_known(self, path, name, expected):
        """A name is looked up as it stands, then level by level, then from the top; as written."""
        url = f"secretfile://{path}".replace(" ", "%20")
        assert provider_from_url(url).get(name) == expected

    @pytest.mark.parametrize("name", ["none", "flat.none", "ns.none", "vault", "nothing", "."])
    def test_unknown(self, path, name):
        """A name that is not there is refused with the file."""
        error = refused(
            lambda: SecretFile(f"secretfile://{path}").get(name), f"<{name}>: ", str(path)
        )
        assert "secrets:" in error.hint

    @pytest.mark.parametrize("name", ["list", "ns"])
    def test_not_text(self, path, name):
        """A list or a mapping is not shown, but refused."""
        error = refused(
            lambda: SecretFile(f"secretfile://{path}").get(name), f"<{name}>: is not text"
        )
        assert "quote" in error.hint

    def test_number_in_json(self, tmp_path):
        """A number in a JSON file is not shown, but refused."""
        path = tmp_path / "secrets.json"
        path.write_text('{"secrets": {"number": 12345678}}')
        error = refused(
            lambda: SecretFile(f"secretfile://{path}").get("number"), "<number>: is not text"
        )
        assert "quote" in error.hint
        assert "12345678" not in str(error)

    @pytest.mark.parametrize(("mode", "warned"), [(0o640, False), (0o604, True)])
    def test_readers(self, path, caplog, mode, warned):
        """That everybody can read the file is a warning, given once."""
        path.chmod(mode)
        for _ in range(2):
            SecretFile(f"secretfile://{path}")
        assert caplog.text.count("every user of this machine can read") == warned

    def test_read_once(self, path):
        """A change after the start is not seen, as the Orchestrator does not see it."""
        provider = SecretFile(f"secretfile://{path}")
        path.write_text("secrets: {flat: other}", encoding="utf-8")
        assert provider.get("flat") == SECRET

    def test_not_shown_and_not_pickled(self, path):
        """The secrets are neither in the repr nor in a pickle."""
        provider = SecretFile(f"secretfile://{path}")
        assert SECRET not in repr(provider)
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(provider)

    @pytest.mark.parametrize("rest", ["secrets.yaml", "./secrets.yaml", ""])
    def test_relative_path(self, rest):
        """A path that depends on the working directory is refused."""
        error = refused(lambda: provider_from_url(f"secretfile://{rest}"), "absolute path")
        assert "secretfile:///" in error.hint

    def test_missing_file(self, tmp_path):
        """A file that is not there is a source that cannot be reached."""
        missing = tmp_path / "none.yaml"
        refused(
            lambda: provider_from_url(f"secretfile://{missing}"),
            str(missing),
            "no such file",
            kind=SourceError,
        )

    @pytest.mark.parametrize("text", [f"secrets: [{SECRET}", f"secrets: *{SECRET}", f"- {SECRET}"])
    def test_broken_file(self, tmp_path, text):
        """A broken file is refused, and nothing of it is shown."""
        path = tmp_path / "secrets.yaml"
        path.write_text(text, encoding="utf-8")
        refused(lambda: SecretFile(f"secretfile://{path}"), str(path), kind=ConfigError)
