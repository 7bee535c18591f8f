"""A stream that is encrypted in frames opens whole, or not at all."""

import io

import pytest

from proxysite.backup.archive.encrypted_stream import (
    FRAME_BYTES,
    LENGTH_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    EncryptedReader,
    EncryptedWriter,
)
from proxysite.backup.backup_errors import BackupError, DamagedBackup

PASSPHRASE = "correct horse battery"
FULL_FRAME = LENGTH_BYTES + NONCE_BYTES + FRAME_BYTES + TAG_BYTES


def encrypt(data):
    file = io.BytesIO()
    writer = EncryptedWriter(file, PASSPHRASE)
    for begin in range(0, len(data), 300_000):
        writer.write(data[begin : begin + 300_000])
    writer.finish()
    return file.getvalue()


def decrypt(encrypted, passphrase=PASSPHRASE):
    reader = EncryptedReader(io.BytesIO(encrypted), passphrase)
    return b"".join(iter(lambda: reader.read(70_000), b""))


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES])
def test_what_is_written_is_read(size):
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert decrypt(encrypt(data)) == data


def test_a_wrong_passphrase_is_said_to_be_one():
    with pytest.raises(BackupError, match="passphrase is wrong"):
        decrypt(encrypt(b"text"), "another passphrase")


def test_frames_cannot_be_left_out_exchanged_repeated_or_appended():
    encrypted = encrypt(b"a" * FRAME_BYTES + b"b" * FRAME_BYTES + b"c")
    header = encrypted.index(b"\n") + 1
    frames = encrypted[header:]
    first = frames[:FULL_FRAME]
    second = frames[FULL_FRAME : 2 * FULL_FRAME]
    last = frames[2 * FULL_FRAME :]
    begin = encrypted[:header]
    assert decrypt(begin + first + second + last)
    changed = bytes([last[-1] ^ 1])
    for damaged in (
        first + second,
        first + last,
        first + first + second + last,
        first + second + last + last,
        first + second + last[:-1] + changed,
        first + second + last[:-1],
        first + second[:100],
    ):
        with pytest.raises(DamagedBackup):
            decrypt(begin + damaged)


def test_another_first_line_is_refused():
    encrypted = encrypt(b"text")
    with pytest.raises(BackupError, match="cannot open"):
        decrypt(encrypted.replace(b'"n": 65536', b'"n": 65535'))
    with pytest.raises(DamagedBackup):
        decrypt(b"[]\n" + encrypted)
