"""Sample: takes the first values of a node, to find an old key, or one to write anew."""

from collections.abc import Iterator

from rotator.crypto.codec import Codec, Opened
from rotator.server.exchange import way_besides
from rotator.server.replies import SetResult
from rotator.server.store import START, Store
from rotator.sweep.node.proof import databases_with_names
from rotator.sweep.node.scan import NextPage, PageReader
from rotator.sweep.node.selector import Rotation
from rotator.sweep.scope import Scope

_PAGE = 50  # names to ask for


def meets_old_keys(store: Store, codec: Codec, scope: Scope) -> bool:
    """
    Return whether one of the first values of a scan is under a key that is to be moved.

    Raises:
        ServerError: The node does not answer.
    """
    movable = Rotation(codec, writes=True, only_key=scope.only_key).movable
    for reader in _readers(store, scope):
        page = reader.take()
        for _, _, opened in _opened(page, codec) if page else ():
            if codec.needs_rewrite(opened) and opened.key in movable:
                return True
    return False


def write_one_anew(store: Store, codec: Codec, scope: Scope) -> bool:
    """
    Encrypt one current value anew, its TTL kept; False if none was found.

    Raises:
        ServerError: The node does not answer, or may not be written to.
    """
    store.way = way_besides(store, scope.match[0])
    for reader in _readers(store, scope):
        while page := reader.take():
            for name, value, opened in _opened(page, codec):
                if codec.needs_rewrite(opened) or opened.inner:
                    continue
                swap = (name, value, codec.rewrite(name, opened))
                if store.compare_and_set([swap]) == [SetResult.DONE]:
                    return True
    return False


def _readers(store: Store, scope: Scope) -> Iterator[PageReader]:
    """Yield what reads each of the scans of *scope*."""
    for db, pattern in scope.scans(databases_with_names(store)):
        yield PageReader(store, db, pattern, START, lambda: _PAGE, scope.inside(db))


def _opened(page: NextPage, codec: Codec) -> Iterator[tuple[bytes, bytes, Opened]]:
    """Yield the values of a page that open, each with its name."""
    for name, value in zip(page.names, page.values(), strict=True):
        opened = codec.open(name, value) if isinstance(value, bytes) else None
        if isinstance(value, bytes) and isinstance(opened, Opened):
            yield name, value, opened
