"""The encrypted bundle of an export opens with its passphrase, whole and unchanged, or never."""

import json

import pytest

from tokens.exports.encrypted_bundle import BundleError, decrypt_bundle, encrypt_bundle, is_bundle

PASSPHRASE = "correct horse battery staple"
PIECES = ["first\n", "second ü\n", "third\n"]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return "".join(encrypt_bundle(PIECES, PASSPHRASE)).splitlines()


def test_a_bundle_opens_with_its_passphrase(lines: list[str]) -> None:
    assert is_bundle(lines)
    assert decrypt_bundle(lines, PASSPHRASE) == "".join(PIECES)
    assert decrypt_bundle([f" {line}\r" for line in [*lines, ""]], PASSPHRASE) == "".join(PIECES)


@pytest.mark.parametrize("pieces", [[], [""], ["one\n"]])
def test_a_bundle_may_hold_little(pieces: list[str]) -> None:
    text = "".join(encrypt_bundle(pieces, PASSPHRASE))
    assert decrypt_bundle(text.splitlines(), PASSPHRASE) == "".join(pieces)


def test_any_change_is_noticed(lines: list[str]) -> None:
    header, first, second, third = lines
    for changed in (
        [header, first, second],
        [header, first, third],
        [header, second, first, third],
        [header, first, second, third, third],
        [header, first, second, third[:-8]],
        [header.replace("salt", "Salt"), first, second, third],
        [f"{header[:-1]}, {header[1:]}", first, second, third],
        [header],
        [header, "not base64 at all", third],
    ):
        with pytest.raises(BundleError):
            decrypt_bundle(changed, PASSPHRASE)
    with pytest.raises(BundleError):
        decrypt_bundle(lines, f"{PASSPHRASE} ")
    with pytest.raises(BundleError):
        decrypt_bundle(lines, "")


@pytest.mark.parametrize(
    "costs", [{"n": 2**30}, {"r": 2**20}, {"p": 10**9}, {"version": 2}, {"n": "x"}]
)
def test_a_bundle_cannot_choose_how_much_work_its_key_is(
    lines: list[str], costs: dict[str, object]
) -> None:
    header = json.dumps(json.loads(lines[0]) | costs)
    with pytest.raises(BundleError, match="cannot open"):
        decrypt_bundle([header, *lines[1:]], PASSPHRASE)


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "sk-made-up", '{"format": 1}', '"proxysite-tokens"']
)
def test_other_files_are_no_bundles(line: str) -> None:
    assert not is_bundle([line])
    assert not is_bundle([])
